//! What does the stack itself cost? The least that anybody would write to hand out client secrets:
//! axum, one pooled reqwest client, the same body for everybody, no user, no limit, no log.
//! `benches/load.sh` holds the service against it.

use std::io::Write;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::post;
use serde::{Deserialize, Serialize};

#[derive(Clone)]
struct Upstream {
    http: reqwest::Client,
    url: String,
}

#[derive(Serialize)]
struct Body {
    workflow: Workflow,
    user: &'static str,
    expires_after: ExpiresAfter,
}

#[derive(Serialize)]
struct Workflow {
    id: &'static str,
}

#[derive(Serialize)]
struct ExpiresAfter {
    anchor: &'static str,
    seconds: u64,
}

#[derive(Deserialize, Serialize)]
struct Minted {
    client_secret: String,
}

/// Usage: `bare_proxy http://127.0.0.1:4010`. Prints the address that it listens on, alone.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // `cargo bench` runs every benchmark with no argument but its own `--bench`: this one is for
    // load.sh alone.
    let Some(base) = std::env::args().skip(1).find(|argument| argument.starts_with("http://"))
    else {
        return Ok(());
    };
    let http = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?;
    let upstream = Upstream { http, url: format!("{base}/v1/chatkit/sessions") };
    let app = Router::new().route("/api/chatkit/session", post(session)).with_state(upstream);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, app).await.context("the proxy stopped")
}

async fn session(State(upstream): State<Upstream>) -> Result<impl IntoResponse, StatusCode> {
    let minted = mint(&upstream).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    let body = serde_json::to_vec(&minted).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(CONTENT_TYPE, "application/json")], body))
}

async fn mint(upstream: &Upstream) -> reqwest::Result<Minted> {
    let body = Body {
        workflow: Workflow { id: "wf_sandbox" },
        user: "bare",
        expires_after: ExpiresAfter { anchor: "created_at", seconds: 600 },
    };
    let request = upstream
        .http
        .post(&upstream.url)
        .bearer_auth("sk-bench")
        .header("openai-beta", "chatkit_beta=v1")
        .json(&body);
    request.send().await?.error_for_status()?.json().await
}
