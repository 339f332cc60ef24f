//! `dev` and `sandbox`: the service with nothing to configure, and the stand-in for OpenAI that it talks to.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use aws_lc_rs::rand;
use data_encoding::HEXLOWER;

use super::{Failure, Output, config, read, say, serve};
use crate::clock::SystemClock;
use crate::config::env::{Environment, Secret};
use crate::config::origins::Origin;
use crate::config::service::ServiceConfig;
use crate::dev::DevTokens;
use crate::lifecycle::{Lifecycle, signals};
use crate::sandbox;
use crate::server::{Server, answer_with};
use crate::service::{Service, bound};
use crate::user::UserId;

/// More connections than one developer's tools open.
const SANDBOX_CONNECTIONS: usize = 4096;

/// Runs the service against a sandbox in this process. What is set in the environment still counts.
pub(super) async fn dev(mut vars: Environment, output: Output) -> Result<(), Failure> {
    let mut default = |name: &str, value: &str| {
        let is_missing = !vars.has(name);
        if is_missing {
            vars.set(name, value);
        }
        is_missing
    };
    let lifecycle = Lifecycle::default();
    let sandboxed = default("CHATKIT_API_BASE", "http://127.0.0.1:1");
    let own_key = !(sandboxed && default("OPENAI_API_KEY", "sk-sandbox"));
    default("CHATKIT_WORKFLOW_ID", "wf_sandbox");
    default("JWT_SECRET", &random_key()?);
    default("CHATKIT_COOKIE_KEY", &random_key()?);
    default("HOST", "127.0.0.1");
    if sandboxed {
        let server = Server::bind("127.0.0.1", 0).await.context("the sandbox can't listen")?;
        vars.set("CHATKIT_API_BASE", format!("http://{}", server.local_addr()));
        let router = sandbox::router(Arc::new(SystemClock));
        lifecycle.tasks().spawn(server.serve(answer_with(router), SANDBOX_CONNECTIONS, lifecycle.clone()));
    }

    let mut config = config(&vars)?;
    serve::start_logs(&config.service)?;
    serve::log_warnings(&vars, &config);
    let server = bound("HOST and PORT", &config.service.host, config.service.port).await?;
    let port = server.local_addr().port();
    for host in ["localhost", "127.0.0.1"] {
        config.service.origins.push(Origin::Exact(format!("http://{host}:{port}")));
    }
    let tokens = DevTokens { auth: Arc::clone(&config.auth), clock: Arc::new(SystemClock) };
    let ada = UserId::parse("ada").context("ada is a user")?;
    let token = tokens.sign(&ada).context("`dev` can't sign tokens")?;

    let upstream = if sandboxed {
        let key = config.upstream.api_key.as_ref().map_or("", Secret::expose);
        about_sandbox(own_key.then_some(key))
    } else {
        "OpenAI is the one that CHATKIT_API_BASE names.".to_owned()
    };
    let service = Service::on(server, config, Some(tokens)).await?;
    if !output.print_addr {
        say(welcome(port, &token, &upstream))?;
    }
    serve::run(service, output).await
}

/// What the sandbox can't do, and what it does with a key that was set.
fn about_sandbox(own_key: Option<&str>) -> String {
    let about_key = match own_key {
        None => "",
        Some(key) if key.starts_with("sk-") => {
            "\nOPENAI_API_KEY is set; the sandbox gets it, OpenAI does not."
        }
        Some(_) => {
            "\nOPENAI_API_KEY is set, and the sandbox gets it. It does not start with `sk-`, so the sandbox refuses it: \
             unset it, or set another."
        }
    };
    format!(
        "OpenAI is played by a sandbox in this process: sessions are made, the chat itself does not run.\n\
         For the real one set CHATKIT_API_BASE=https://api.openai.com, OPENAI_API_KEY and CHATKIT_WORKFLOW_ID.\
         {about_key}"
    )
}

fn welcome(port: u16, token: &str, upstream: &str) -> String {
    format!(
        "Open http://localhost:{port}/ or ask for a session:\n\n  \
         curl -sS -X POST http://localhost:{port}/api/chatkit/session -H 'Authorization: Bearer {token}'\n\n\
         {upstream}\nThe keys are made up for this run. Ctrl-C ends it."
    )
}

fn random_key() -> Result<String, Failure> {
    let mut bits = [0; 32];
    rand::fill(&mut bits).map_err(|_| anyhow!("the system gives no random bytes"))?;
    Ok(HEXLOWER.encode(&bits))
}

/// Runs the stand-in alone, until a signal ends it.
pub(super) async fn sandbox(mut vars: Environment, port: u16, output: Output) -> Result<(), Failure> {
    if !vars.has("HOST") {
        vars.set("HOST", "127.0.0.1");
    }
    let config = read(&vars, ServiceConfig::from_vars)?;
    let host = &config.host;
    serve::start_logs(&config)?;
    let server = Server::bind(host, port).await.with_context(|| format!("{host}:{port} can't be bound"))?;
    let address = server.local_addr();
    if output.print_addr {
        say(address)?;
    } else {
        say(format_args!(
            "A stand-in for OpenAI's API listens on http://{address}\n\
             Set CHATKIT_API_BASE=http://{address} and OPENAI_API_KEY=sk-anything to use it."
        ))?;
    }
    let lifecycle = Lifecycle::default();
    let signals = signals().map_err(|error| anyhow!(error))?;
    let router = sandbox::router(Arc::new(SystemClock));
    lifecycle.tasks().spawn(server.serve(answer_with(router), SANDBOX_CONNECTIONS, lifecycle.clone()));
    lifecycle.run_until(signals, std::time::Duration::from_secs(1)).await;
    Ok(())
}
