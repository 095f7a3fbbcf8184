//! Numbers as JSON has them: exact up to 2^53 in every language, as decimal text above.

use serde::Serializer;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

/// The largest integer that every reader of JSON keeps exactly.
const EXACT_MAX: u128 = 1 << 53;

/// Serializes an integer: a number up to 2^53, decimal text above.
pub fn wide<S: Serializer>(number: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    match u64::try_from(*number) {
        Ok(small) if *number <= EXACT_MAX => serializer.serialize_u64(small),
        _ => serializer.collect_str(number),
    }
}

/// The same of a smaller one.
pub fn wide64<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    wide(&u128::from(*number), serializer)
}

/// What [`wide`] writes, for the OpenAPI document.
pub fn schema() -> RefOr<Schema> {
    let number = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Integer))
        .minimum(Some(0))
        .maximum(Some(EXACT_MAX as f64));
    let text = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .pattern(Some("^[0-9]+$"));
    OneOfBuilder::new()
        .item(number)
        .item(text)
        .description(Some(
            "A whole number: as a number up to 2^53, as decimal text above.",
        ))
        .into()
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    #[derive(Serialize)]
    struct Sum {
        #[serde(serialize_with = "super::wide")]
        work: u128,
    }

    #[test]
    fn what_a_double_cannot_hold_is_text() {
        let shown = |work| serde_json::to_string(&Sum { work }).unwrap();
        assert_eq!(shown(7), r#"{"work":7}"#);
        assert_eq!(shown(1 << 53), r#"{"work":9007199254740992}"#);
        assert_eq!(shown((1 << 53) + 1), r#"{"work":"9007199254740993"}"#);
        assert_eq!(shown(u128::MAX), format!(r#"{{"work":"{}"}}"#, u128::MAX));
    }
}
