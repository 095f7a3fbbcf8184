//! Makes transactions as users would: real coins, real signatures, varying fees, chains of
//! dependants. The same seed on the same chain gives the same transactions.

use std::collections::{BTreeMap, VecDeque};

use bitcoin::{
    Amount, Block, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, absolute, transaction,
};

use super::chain::Chain;
use super::coins::Coin;
use super::mempool::Mempool;
use super::random::Random;
use super::rules::COINBASE_MATURITY;
use super::wallet::{Form, Wallet, input_weight, output_weight};

/// Inputs of one transaction at most.
const INPUTS_MAX: usize = 4;
/// Outputs of a transaction that splits coins, at most.
const FAN_OUT_MAX: u64 = 16;
/// Coins at hand, over what is wanted, from which on users gather them.
const GATHER_MIN: usize = 1000;
/// Satoshis below which a coin is not worth spending alone.
const COIN_MIN: u64 = 50_000;
/// Coins looked at for one transaction before giving up.
const LOOKS_MAX: usize = 64;
/// Fee rates drawn, satoshis a virtual byte; the top is the end of fee growth.
const FEE_RATE_USUAL_MAX: u64 = 40;
const FEE_RATE_MAX: u64 = 500;

/// Every form with its share of sixteen outputs: signatures are what restarting costs.
const FORMS: [(Form, u64); 4] = [
    (Form::Open, 10),
    (Form::WitnessKeyHash, 2),
    (Form::Taproot, 2),
    (Form::KeyHash, 2),
];

/// The users of this chain.
#[derive(Debug)]
pub(super) struct Generator {
    wallet: Wallet,
    random: Random,
    /// Coins to spend next; what is spent or gone meanwhile is passed over.
    ready: VecDeque<OutPoint>,
    /// Coinbase coins by the height of the first block that may spend them.
    young: BTreeMap<u32, Vec<OutPoint>>,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            wallet: Wallet::new(seed),
            random: Random::new(seed),
            ready: VecDeque::new(),
            young: BTreeMap::new(),
        }
    }

    /// Finds its coins anew, in a fixed order.
    pub(super) fn rescan(&mut self, chain: &Chain, mempool: &Mempool) {
        self.ready.clear();
        self.young.clear();
        let mut own: Vec<(OutPoint, u32)> = chain
            .coins()
            .filter(|(point, coin)| self.wallet.form(coin).is_some() && mempool.coin(chain, point).is_some())
            .map(|(point, coin)| (*point, spendable_from(coin)))
            .collect();
        own.sort_unstable();
        for (point, from) in own {
            self.young.entry(from).or_default().push(point);
        }
        for (_, waiting) in mempool.iter() {
            self.ready.extend(points(&waiting.tx));
        }
        self.grow(chain.height());
    }

    /// Notes the coinbase coins of a connected block and those that have come of age.
    pub(super) fn follow(&mut self, block: &Block, height: u32) {
        if let Some(coinbase) = block.txdata.first() {
            for (point, output) in points(coinbase).zip(&coinbase.output) {
                if self.wallet.form_of(output).is_some() {
                    let from = height.saturating_add(COINBASE_MATURITY);
                    self.young.entry(from).or_default().push(point);
                }
            }
        }
        self.grow(height);
    }

    /// Gives back what an evicted transaction spent.
    pub(super) fn give_back(&mut self, tx: &Transaction) {
        self.ready
            .extend(tx.input.iter().map(|input| input.previous_output));
    }

    /// Makes the next transaction; `wanted` is how many coins it should have at hand. `floor` is
    /// the lowest fee rate worth paying, satoshis a virtual byte.
    pub(super) fn next(
        &mut self,
        chain: &Chain,
        mempool: &Mempool,
        wanted: usize,
        floor: u64,
    ) -> Option<Transaction> {
        let spread = self.ready.len() < wanted;
        let gather = self.ready.len() > wanted.saturating_mul(4).saturating_add(GATHER_MIN);
        let inputs = if gather {
            INPUTS_MAX
        } else if spread {
            1
        } else {
            1 + self.below(2)
        };
        let spent = self.pick(chain, mempool, inputs)?;
        let outputs = if gather {
            1
        } else if spread {
            4 + self.random.below(FAN_OUT_MAX - 3)
        } else {
            1 + self.random.below(3)
        };
        let rate = self.fee_rate(floor);
        let tx = self.unsigned(chain, &spent, outputs, rate);
        let tx = self.wallet.sign(tx, &spent);
        self.ready.extend(points(&tx));
        Some(tx)
    }

    fn grow(&mut self, height: u32) {
        let next = height.saturating_add(1);
        while let Some(entry) = self.young.first_entry()
            && *entry.key() <= next
        {
            self.ready.extend(entry.remove());
        }
    }

    /// Takes coins until there are `count` and they are worth something.
    fn pick(&mut self, chain: &Chain, mempool: &Mempool, count: usize) -> Option<Vec<(OutPoint, Coin)>> {
        let mut picked: Vec<(OutPoint, Coin)> = Vec::new();
        let mut value = 0u64;
        for _ in 0..LOOKS_MAX {
            if picked.len() >= INPUTS_MAX || (picked.len() >= count && value >= COIN_MIN) {
                break;
            }
            // Now and then the newest: that is how chains of dependants come about.
            let newest = self.random.below(4) == 0;
            let point = if newest {
                self.ready.pop_back()
            } else {
                self.ready.pop_front()
            }?;
            let twice = picked.iter().any(|(other, _)| *other == point);
            let coin = mempool.coin(chain, &point);
            if let Some(coin) = coin.filter(|coin| !twice && self.wallet.form(coin).is_some()) {
                value = value.saturating_add(coin.output.value.to_sat());
                picked.push((point, coin));
            }
        }
        (value >= COIN_MIN).then_some(picked)
    }

    fn unsigned(
        &mut self,
        chain: &Chain,
        spent: &[(OutPoint, Coin)],
        outputs: u64,
        rate: u64,
    ) -> Transaction {
        let sum = spent
            .iter()
            .fold(0u64, |sum, (_, c)| sum.saturating_add(c.output.value.to_sat()));
        let room = sum / (COIN_MIN / 2);
        let outputs = outputs.min(room).max(1);
        let forms: Vec<Form> = (0..outputs).map(|_| self.any_form()).collect();
        let weight = 42
            + spent
                .iter()
                .map(|(_, coin)| input_weight(self.wallet.form(coin)))
                .sum::<u64>()
            + forms.iter().map(|form| output_weight(*form)).sum::<u64>();
        let fee = (weight.saturating_mul(rate) / 4).min(sum / 2);
        let shares = self.split(sum - fee, outputs);
        // Some wallets lock to the present height against fee sniping.
        let lock = if self.random.below(2) == 0 {
            chain.height()
        } else {
            0
        };
        let output = forms.iter().zip(shares).map(|(form, value)| TxOut {
            value: Amount::from_sat(value),
            script_pubkey: self.wallet.script(*form),
        });
        Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::from_consensus(lock),
            input: spent.iter().map(|(point, _)| unsigned_input(*point)).collect(),
            output: output.collect(),
        }
    }

    /// Splits satoshis into uneven shares.
    fn split(&mut self, value: u64, count: u64) -> Vec<u64> {
        let even = value / count;
        let mut shares = Vec::new();
        let mut left = value;
        for _ in 1..count {
            let share = even / 2 + self.random.below(even / 2 + 1);
            left -= share;
            shares.push(share);
        }
        shares.push(left);
        shares
    }

    fn fee_rate(&mut self, floor: u64) -> u64 {
        let usual = 1 + self.random.below(FEE_RATE_USUAL_MAX);
        let above = floor.saturating_add(1 + self.random.below(1 + floor / 5));
        if floor == 0 {
            usual
        } else {
            usual.max(above).min(FEE_RATE_MAX)
        }
    }

    fn any_form(&mut self) -> Form {
        let mut draw = self.random.below(FORMS.iter().map(|(_, share)| share).sum());
        for (form, share) in FORMS {
            if draw < share {
                return form;
            }
            draw -= share;
        }
        Form::Open
    }

    fn below(&mut self, bound: u64) -> usize {
        usize::try_from(self.random.below(bound)).unwrap_or(0)
    }
}

fn spendable_from(coin: &Coin) -> u32 {
    if coin.coinbase {
        coin.height.saturating_add(COINBASE_MATURITY)
    } else {
        0
    }
}

fn points(tx: &Transaction) -> impl Iterator<Item = OutPoint> + use<> {
    let txid = tx.compute_txid();
    (0..u32::try_from(tx.output.len()).unwrap_or(0)).map(move |vout| OutPoint { txid, vout })
}

fn unsigned_input(previous_output: OutPoint) -> TxIn {
    TxIn {
        previous_output,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: Witness::new(),
    }
}
