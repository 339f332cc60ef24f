//! `dev` and `sandbox`: the service with nothing to configure, and the stand-in for OpenAI that it talks to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow};

use super::{Failure, Mode, Output, config, read, say, serve};
use crate::clock::SystemClock;
use crate::config::env::{Environment, Secret};
use crate::config::origins::Origin;
use crate::config::service::ServiceConfig;
use crate::dev::DevTokens;
use crate::ids::{new_id, random_hex};
use crate::lifecycle::{Lifecycle, signals};
use crate::sandbox;
use crate::server::{Server, answer_with};
use crate::service::{Own, Service, bound};
use crate::user::UserId;

/// More connections than one developer's tools open.
const SANDBOX_CONNECTIONS: usize = 16_384;

/// The agent of `dev`: with it, each word that the sandbox's model knows shows something.
const AGENTS: &str = r#"
[agents.default]
model = "sandbox"
instructions = "You are the assistant of a sample page."
reasoning = { summary = "auto" }

[[agents.default.tools]]
type = "web_search"

[[agents.default.tools]]
type = "image_generation"

[[agents.default.tools]]
type = "client"
name = "get_selection"
description = "What the user has selected on the page"
parameters = { type = "object", properties = {}, additionalProperties = false }
"#;

/// Runs the service against a sandbox in this process. What is set in the environment still counts.
pub(super) async fn dev(mut vars: Environment, mode: Option<Mode>, output: Output) -> Result<(), Failure> {
    let lifecycle = Lifecycle::default();
    match mode {
        Some(Mode::Hosted) => vars.set("CHATKIT_MODE", "hosted"),
        Some(Mode::SelfHosted) => vars.set("CHATKIT_MODE", "self-hosted"),
        None => vars.set_default("CHATKIT_MODE", "self-hosted"),
    }
    let is_hosted = vars.get("CHATKIT_MODE").is_some_and(|mode| mode.trim() == "hosted");
    let base = if is_hosted { "CHATKIT_API_BASE" } else { "OPENAI_BASE_URL" };
    let sandboxed = !vars.has(base);
    let own_key = vars.has("OPENAI_API_KEY") || !sandboxed;
    if sandboxed {
        let address = start_sandbox(&lifecycle).await?;
        vars.set(base, format!("http://{address}{}", if is_hosted { "" } else { "/v1" }));
        vars.set_default("OPENAI_API_KEY", "sk-sandbox");
    }
    let folder = if is_hosted { None } else { Some(TempFolder::new()?) };
    if let Some(folder) = &folder {
        set_self_hosted_defaults(&mut vars, folder, sandboxed)?;
    }
    vars.set_default("CHATKIT_WORKFLOW_ID", "wf_sandbox");
    vars.set_default("JWT_SECRET", random_hex::<32>());
    vars.set_default("CHATKIT_COOKIE_KEY", random_hex::<32>());
    vars.set_default("HOST", "127.0.0.1");

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
        about_sandbox(is_hosted, own_key.then_some(key))
    } else {
        format!("OpenAI is the one that {base} names.")
    };
    let own = Own { dev: Some(tokens), ..Own::default() };
    let service = Service::on(server, config, own).await?;
    if !output.print_addr {
        let chat = if is_hosted { String::new() } else { chat_line(port, &token) };
        say(welcome(port, &token, &chat, &upstream))?;
    }
    serve::run(service, output).await
}

async fn start_sandbox(lifecycle: &Lifecycle) -> Result<SocketAddr, Failure> {
    let server = Server::bind("127.0.0.1", 0).await.context("the sandbox can't listen")?;
    let address = server.local_addr();
    let router = sandbox::router(Arc::new(SystemClock));
    lifecycle.tasks().spawn(server.serve(answer_with(router), SANDBOX_CONNECTIONS, lifecycle.clone()));
    Ok(address)
}

/// Threads are kept in memory and files in a folder that goes away: `dev` leaves nothing behind.
fn set_self_hosted_defaults(
    vars: &mut Environment,
    folder: &TempFolder,
    sandboxed: bool,
) -> Result<(), Failure> {
    vars.set_default("CHATKIT_SIGNING_KEY", random_hex::<32>());
    vars.set_default("DATABASE_URL", "sqlite::memory:");
    vars.set_default("CHATKIT_UPLOADS_DIR", folder.path("uploads"));
    if sandboxed && !vars.has("CHATKIT_AGENTS") && !vars.has("CHATKIT_MODEL") {
        let agents = folder.path("agents.toml");
        std::fs::write(&agents, AGENTS).context("a temporary file can't be written")?;
        vars.set("CHATKIT_AGENTS", agents);
    }
    Ok(())
}

/// A folder below the system's own for temporary files, removed at the end.
struct TempFolder(PathBuf);

impl TempFolder {
    fn new() -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("chatkit-server-dev-{}", new_id("")));
        std::fs::create_dir(&folder).context("a temporary folder can't be made")?;
        Ok(Self(folder))
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        // What is left lies among the system's temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the sandbox can't do, and what it does with a key that was set.
fn about_sandbox(is_hosted: bool, own_key: Option<&str>) -> String {
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
    if is_hosted {
        return format!(
            "OpenAI is played by a sandbox in this process: sessions are made, the chat itself does not run.\n\
             For the real one set CHATKIT_API_BASE=https://api.openai.com, OPENAI_API_KEY and CHATKIT_WORKFLOW_ID.\
             {about_key}"
        );
    }
    format!(
        "The model is a script in this process. Words that it knows: long, think, search, cite, tool, image, fail.\n\
         For a real one set OPENAI_BASE_URL=https://api.openai.com/v1, OPENAI_API_KEY and CHATKIT_MODEL.\n\
         Threads are kept in memory; DATABASE_URL=sqlite://data/chatkit.db keeps them.{about_key}"
    )
}

fn welcome(port: u16, token: &str, chat: &str, upstream: &str) -> String {
    format!(
        "Open http://localhost:{port}/ or ask for a session:\n\n  \
         curl -sS -X POST http://localhost:{port}/api/chatkit/session -H 'Authorization: Bearer {token}'\n\n\
         {chat}{upstream}\nThe keys are made up for this run. Ctrl-C ends it."
    )
}

fn chat_line(port: u16, token: &str) -> String {
    let body = r#"{"type":"threads.create","params":{"input":{"content":[{"type":"input_text","text":"Hello"}],"attachments":[],"inference_options":{}}}}"#;
    format!(
        "Or chat:\n\n  curl -sSN http://localhost:{port}/api/chatkit -H 'Authorization: Bearer {token}' \
         -H 'Content-Type: application/json' -d '{body}'\n\n"
    )
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
             Set CHATKIT_API_BASE=http://{address} (in self-hosted mode OPENAI_BASE_URL=http://{address}/v1) and OPENAI_API_KEY=sk-anything to use it."
        ))?;
    }
    let lifecycle = Lifecycle::default();
    let signals = signals().map_err(|error| anyhow!(error))?;
    let router = sandbox::router(Arc::new(SystemClock));
    lifecycle.tasks().spawn(server.serve(answer_with(router), SANDBOX_CONNECTIONS, lifecycle.clone()));
    lifecycle.run_until(signals, std::time::Duration::from_secs(1)).await;
    Ok(())
}
