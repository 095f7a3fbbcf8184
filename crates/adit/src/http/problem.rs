//! Errors as JSON: what is wrong and what to do.

use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

/// Why a request was not served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Problem {
    error: Details,
}

/// What is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Details {
    /// The status code of HTTP.
    code: u16,
    /// What is wrong.
    message: String,
    /// What to do about it.
    help: String,
}

impl Problem {
    pub(super) fn new(code: StatusCode, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            error: Details {
                code: code.as_u16(),
                message: message.into(),
                help: help.into(),
            },
        }
    }

    pub(super) fn bad(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message, help)
    }

    pub(super) fn missing(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message, help)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (code, json(&self)).into_response();
        if code == StatusCode::UNAUTHORIZED {
            let scheme = header::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        if code == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = header::HeaderValue::from_static("5");
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

/// A value as JSON.
pub(super) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            error.to_string(),
            "this is a mistake of adit: please report it",
        )
        .into_response(),
    }
}

/// The query of a request; a mistake in it is told in JSON.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(QueryRejection::FailedToDeserializeQueryString(error)) => {
                Err(Problem::bad(error.body_text(), DOCUMENT))
            }
            Err(error) => Err(Problem::bad(error.body_text(), DOCUMENT)),
        }
    }
}

/// What the path names; a mistake in it is told in JSON.
pub(super) struct Named<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let named = Path::<T>::from_request_parts(parts, state).await;
        named
            .map(|Path(named)| Self(named))
            .map_err(|error: PathRejection| Problem::bad(error.body_text(), DOCUMENT))
    }
}

/// A body of JSON, whatever its content type; nothing is `{}`.
pub(super) struct Ordered<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Ordered<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = axum::body::Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|error: BytesRejection| {
            Problem::new(error.status(), error.body_text(), "send at most 16 KiB of JSON")
        })?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text)
            .map(Self)
            .map_err(|error| Problem::bad(format!("the body is not what is wanted: {error}"), DOCUMENT))
    }
}

/// Where everything is written down.
const DOCUMENT: &str = "/api/v1/openapi.json says what may be asked";
