//! The live page: `/`, with a style sheet and a script of its own.
//!
//! It asks for nothing but `/status` and `/recent`, and its content security policy allows nothing else.

use axum::{
    Router,
    http::{
        HeaderName,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::IntoResponse,
    routing::get,
};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page's parts.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let part = |content_type, text| get(move || async move { served(content_type, text) });
    Router::new()
        .route("/", part("text/html; charset=utf-8", include_str!("page.html")))
        .route("/page.css", part("text/css; charset=utf-8", include_str!("page.css")))
        .route("/page.js", part("text/javascript; charset=utf-8", include_str!("page.js")))
}

fn served(content_type: &'static str, text: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, &str); 5] = [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // Another version may run on this port tomorrow.
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}
