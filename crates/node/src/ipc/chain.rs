//! The node's RPC methods over IPC: what the mining interface does not tell.

use std::rc::Rc;

use serde_json::{Value, json};

use super::Shared;
use super::call::{PATIENCE, QUERY, Trouble, watched};
use super::connect::{Lane, Session};

/// The error code of "not found".
pub(super) const NOT_FOUND: i64 = -5;

/// What an RPC method answered.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    Result(Value),
    /// Code and text.
    Error(i64, String),
}

/// Runs one method; `Unimplemented` when this node has no RPC over IPC.
pub(super) async fn execute(
    shared: &Shared,
    session: &Rc<Session>,
    lane: &Lane,
    method: &'static str,
    params: Value,
) -> Result<Reply, Trouble> {
    let rpc = session
        .rpc
        .as_ref()
        .ok_or(Trouble::Unimplemented("Init.makeRpc"))?;
    let mut request = rpc.execute_rpc_request();
    let mut call = request.get();
    call.reborrow().init_context().set_thread(lane.clone());
    call.set_request(json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string());
    call.set_uri("/");
    call.set_user("adit");
    let answer = watched(&shared.health, method, QUERY, PATIENCE, request.send().promise).await?;
    let text = answer
        .get()
        .and_then(|answer| answer.get_result())
        .map_err(|e| Trouble::of(method, e))?;
    let text = text
        .to_str()
        .map_err(|_| Trouble::Strange(format!("{method} did not answer in UTF-8")))?;
    reply(text).ok_or_else(|| Trouble::Strange(format!("{method} did not answer with a JSON-RPC reply")))
}

fn reply(text: &str) -> Option<Reply> {
    let mut value: Value = serde_json::from_str(text).ok()?;
    if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
        let said = error.get("message").and_then(Value::as_str).unwrap_or_default();
        return Some(Reply::Error(error.get("code")?.as_i64()?, said.to_owned()));
    }
    value.get_mut("result").map(|result| Reply::Result(result.take()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_both_versions_are_read() {
        let new = r#"{"jsonrpc":"2.0","result":{"confirmations":3},"id":1}"#;
        assert_eq!(reply(new), Some(Reply::Result(json!({"confirmations": 3}))));
        let old = r#"{"result":null,"error":{"code":-5,"message":"Block not found"},"id":1}"#;
        assert_eq!(
            reply(old),
            Some(Reply::Error(NOT_FOUND, "Block not found".into()))
        );
        assert_eq!(
            reply(r#"{"result":null,"error":null}"#),
            Some(Reply::Result(Value::Null))
        );
        for junk in ["", "null", "[]", "{}", r#"{"error":{"code":"x"}}"#] {
            assert_eq!(reply(junk), None, "{junk}");
        }
    }
}
