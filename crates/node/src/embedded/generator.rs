//! Makes transactions as users would: real coins, real signatures, varying fees, chains of
//! dependants. The same seed on the same chain gives the same transactions.

use std::collections::{BTreeMap, VecDeque};

use bitcoin::hashes::{Hash, sha256};
use bitcoin::key::TapTweak;
use bitcoin::secp256k1::{All, Keypair, Message, Secp256k1, SecretKey};
use bitcoin::sighash::{Prevouts, SighashCache};
use bitcoin::{
    Amount, Block, CompressedPublicKey, EcdsaSighashType, OutPoint, PubkeyHash, ScriptBuf, Sequence,
    TapSighashType, Transaction, TxIn, TxOut, WPubkeyHash, Witness, absolute, ecdsa, script, taproot,
    transaction,
};

use super::bootstrap::open_script;
use super::chain::Chain;
use super::coins::Coin;
use super::mempool::Mempool;
use super::random::Random;
use super::rules::COINBASE_MATURITY;

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

/// The forms of output that it owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Open,
    WitnessKeyHash,
    Taproot,
    KeyHash,
}

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
    secp: Secp256k1<All>,
    key: SecretKey,
    public: CompressedPublicKey,
    tweaked: Keypair,
    scripts: [(Form, ScriptBuf); 4],
    random: Random,
    /// Coins to spend next; what is spent or gone meanwhile is passed over.
    ready: VecDeque<OutPoint>,
    /// Coinbase coins by the height of the first block that may spend them.
    young: BTreeMap<u32, Vec<OutPoint>>,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        let secp = Secp256k1::new();
        let key = secret(seed);
        let pair = Keypair::from_secret_key(&secp, &key);
        let public = CompressedPublicKey(pair.public_key());
        let bytes = public.to_bytes();
        let scripts = [
            (Form::Open, open_script()),
            (
                Form::WitnessKeyHash,
                ScriptBuf::new_p2wpkh(&WPubkeyHash::hash(&bytes)),
            ),
            (
                Form::Taproot,
                ScriptBuf::new_p2tr(&secp, pair.x_only_public_key().0, None),
            ),
            (Form::KeyHash, ScriptBuf::new_p2pkh(&PubkeyHash::hash(&bytes))),
        ];
        Self {
            tweaked: pair.tap_tweak(&secp, None).to_keypair(),
            random: Random::new(seed),
            ready: VecDeque::new(),
            young: BTreeMap::new(),
            secp,
            key,
            public,
            scripts,
        }
    }

    /// Finds its coins anew, in a fixed order.
    pub(super) fn rescan(&mut self, chain: &Chain, mempool: &Mempool) {
        self.ready.clear();
        self.young.clear();
        let mut own: Vec<(OutPoint, u32)> = chain
            .coins()
            .filter(|(point, coin)| self.form(coin).is_some() && mempool.coin(chain, point).is_some())
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
                if self
                    .scripts
                    .iter()
                    .any(|(_, script)| *script == output.script_pubkey)
                {
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
        let tx = self.sign(tx, &spent);
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
            if let Some(coin) = coin.filter(|coin| !twice && self.form(coin).is_some()) {
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
                .map(|(_, coin)| input_weight(self.form(coin)))
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
            script_pubkey: self.script(*form),
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

    fn sign(&self, mut tx: Transaction, spent: &[(OutPoint, Coin)]) -> Transaction {
        let outputs: Vec<TxOut> = spent.iter().map(|(_, coin)| coin.output.clone()).collect();
        let unsigned = tx.clone();
        let mut cache = SighashCache::new(&unsigned);
        for (index, input) in tx.input.iter_mut().enumerate() {
            let Some(output) = outputs.get(index) else {
                continue;
            };
            match self.form_of(output) {
                Some(Form::Open) => input.witness = Witness::from_slice(&[[0x51u8]]),
                Some(Form::WitnessKeyHash) => {
                    let kind = EcdsaSighashType::All;
                    let script = &output.script_pubkey;
                    let hash = cache.p2wpkh_signature_hash(index, script, output.value, kind);
                    if let Ok(hash) = hash {
                        let signature = self.ecdsa(hash.to_byte_array());
                        input.witness = Witness::p2wpkh(&signature, &self.public.0);
                    }
                }
                Some(Form::Taproot) => {
                    let kind = TapSighashType::Default;
                    let all = Prevouts::All(&outputs);
                    if let Ok(hash) = cache.taproot_key_spend_signature_hash(index, &all, kind) {
                        input.witness = Witness::p2tr_key_spend(&self.schnorr(hash.to_byte_array()));
                    }
                }
                Some(Form::KeyHash) => {
                    let kind = EcdsaSighashType::All.to_u32();
                    let hash = cache.legacy_signature_hash(index, &output.script_pubkey, kind);
                    if let Ok(hash) = hash {
                        let signature = self.ecdsa(hash.to_byte_array()).serialize();
                        let builder = script::Builder::new().push_slice(signature);
                        input.script_sig = builder.push_slice(self.public.to_bytes()).into_script();
                    }
                }
                None => {}
            }
        }
        tx
    }

    fn ecdsa(&self, hash: [u8; 32]) -> ecdsa::Signature {
        let message = Message::from_digest(hash);
        ecdsa::Signature::sighash_all(self.secp.sign_ecdsa(&message, &self.key))
    }

    fn schnorr(&self, hash: [u8; 32]) -> taproot::Signature {
        let message = Message::from_digest(hash);
        let signature = self.secp.sign_schnorr_no_aux_rand(&message, &self.tweaked);
        taproot::Signature {
            signature,
            sighash_type: TapSighashType::Default,
        }
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

    fn form(&self, coin: &Coin) -> Option<Form> {
        self.form_of(&coin.output)
    }

    fn form_of(&self, output: &TxOut) -> Option<Form> {
        let mut all = self.scripts.iter();
        all.find(|(_, script)| *script == output.script_pubkey)
            .map(|(form, _)| *form)
    }

    fn script(&self, form: Form) -> ScriptBuf {
        let mut all = self.scripts.iter();
        all.find(|(other, _)| *other == form)
            .map(|(_, script)| script.clone())
            .unwrap_or_default()
    }
}

fn secret(seed: u64) -> SecretKey {
    // A hash is a valid key but for a chance of 2^-128; hashing on finds the next.
    let mut hash = sha256::Hash::hash(&seed.to_le_bytes());
    loop {
        match SecretKey::from_slice(hash.as_byte_array()) {
            Ok(key) => return key,
            Err(_) => hash = sha256::Hash::hash(hash.as_byte_array()),
        }
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

/// Weight of an input when signed.
fn input_weight(form: Option<Form>) -> u64 {
    match form {
        Some(Form::WitnessKeyHash) => 272,
        Some(Form::Taproot) => 230,
        Some(Form::KeyHash) => 593,
        Some(Form::Open) | None => 167,
    }
}

fn output_weight(form: Form) -> u64 {
    match form {
        Form::Open | Form::Taproot => 172,
        Form::WitnessKeyHash => 124,
        Form::KeyHash => 136,
    }
}
