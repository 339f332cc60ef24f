//! `dev` and `sandbox`: the service with nothing to configure, and the stand-in for OpenAI that it
//! talks to.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow};

use super::{Failure, Mode, Output, read, say, serve};
use crate::clock::SystemClock;
use crate::config::env::{Environment, Secret};
use crate::config::origins::Origin;
use crate::config::service::ServiceConfig;
use crate::config::variables::{Reader, VARIABLES, Variable};
use crate::config::{self, Config};
use crate::dev::DevTokens;
use crate::ids::{new_id, random_hex};
use crate::lifecycle::{Lifecycle, signals};
use crate::sandbox;
use crate::server::{Server, answer_with};
use crate::service::{Own, Service, bound};

/// More connections than one developer's tools open.
const SANDBOX_CONNECTIONS: usize = 16_384;

/// Where threads are kept unless `DATABASE_URL` is set.
const IN_MEMORY: &str = "sqlite::memory:";

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
pub(super) async fn dev(
    mut vars: Environment,
    mode: Option<Mode>,
    output: Output,
) -> Result<(), Failure> {
    let lifecycle = Lifecycle::default();
    match mode {
        Some(Mode::Hosted) => vars.set("CHATKIT_MODE", "hosted"),
        Some(Mode::SelfHosted) => vars.set("CHATKIT_MODE", "self-hosted"),
        None => vars.set_default("CHATKIT_MODE", "self-hosted"),
    }
    let is_hosted = vars.get("CHATKIT_MODE").is_some_and(|mode| mode.trim() == "hosted");
    let cast = Cast::of(&vars, is_hosted);
    if let Cast::Sandbox { base, .. } = cast {
        let address = start_sandbox(&lifecycle).await?;
        vars.set(base, format!("http://{address}{}", if is_hosted { "" } else { "/v1" }));
        vars.set_default("OPENAI_API_KEY", "sk-sandbox");
    }
    let folder = if is_hosted { None } else { Some(TempFolder::new()?) };
    match &folder {
        Some(folder) => set_self_hosted_defaults(&mut vars, folder, &cast)?,
        None if vars.has("WORKFLOW_ID") => {}
        None => vars.set_default("CHATKIT_WORKFLOW_ID", "wf_sandbox"),
    }
    lift_limits(&mut vars, is_hosted);
    vars.set_default("CHATKIT_COOKIE_KEY", random_hex::<32>());
    vars.set_default("HOST", "127.0.0.1");

    let run_key = Secret::new(random_hex::<32>());
    let mut config = read(&vars, |vars| Config::with_run_key(vars, Some(run_key)))?;
    serve::start_logs(&config.service)?;
    serve::log_warnings(&vars, &config);
    let server = bound("HOST and PORT", &config.service.host, config.service.port).await?;
    let address = server.local_addr();
    config.service.origins.push(Origin::Local);
    let is_local_only = address.ip().is_loopback();
    let tokens =
        DevTokens { auth: Arc::clone(&config.auth), clock: Arc::new(SystemClock), is_local_only };
    let welcome = welcome(address, &cast, &config);
    let own = Own { dev: Some(tokens), ..Own::default() };
    let service = Service::on(server, config, own).await?;
    if !output.print_addr {
        say(welcome)?;
    }
    serve::run(service, output).await
}

/// Who plays OpenAI.
enum Cast {
    /// The sandbox in this process; this variable then names it.
    Sandbox {
        base: &'static str,
        /// Whether a key was set, which the sandbox gets.
        has_key: bool,
        /// What names a model that can't be asked for want of a key.
        model: Option<&'static str>,
    },
    /// Whoever is named.
    Named,
}

impl Cast {
    fn of(vars: &Environment, is_hosted: bool) -> Self {
        let has_key = vars.has("OPENAI_API_KEY");
        let base = if is_hosted { "CHATKIT_API_BASE" } else { "OPENAI_BASE_URL" };
        let model = ["CHATKIT_AGENTS", "CHATKIT_MODEL"]
            .into_iter()
            .find(|name| !is_hosted && vars.has(name));
        if vars.has(base) || (model.is_some() && has_key) {
            return Self::Named;
        }
        Self::Sandbox { base, has_key, model }
    }
}

/// Takes away each limit of a user or an address that is not set.
fn lift_limits(vars: &mut Environment, is_hosted: bool) {
    let is_read = |reader| !is_hosted || reader != Reader::SelfHosted;
    for Variable { name, .. } in VARIABLES.iter().filter(|variable| is_read(variable.reader)) {
        let rate = name.strip_suffix("_PER_MINUTE").filter(|rate| rate.starts_with("RATE_LIMIT_"));
        let is_limit =
            rate.is_some() || name.ends_with("_PER_USER") || name.ends_with("_PER_ADDRESS");
        let has_burst = rate.is_some_and(|rate| vars.has(&format!("{rate}_BURST")));
        if is_limit && !has_burst {
            vars.set_default(name, "0");
        }
    }
}

async fn start_sandbox(lifecycle: &Lifecycle) -> Result<SocketAddr, Failure> {
    let server = Server::bind("127.0.0.1", 0).await.context("the sandbox can't listen")?;
    let address = server.local_addr();
    let router = sandbox::router(Arc::new(SystemClock));
    lifecycle.tasks().spawn(server.serve(
        answer_with(router),
        SANDBOX_CONNECTIONS,
        lifecycle.clone(),
    ));
    Ok(address)
}

/// Threads are kept in memory and files in a folder that goes away: `dev` leaves nothing behind.
fn set_self_hosted_defaults(
    vars: &mut Environment,
    folder: &TempFolder,
    cast: &Cast,
) -> Result<(), Failure> {
    vars.set_default("CHATKIT_SIGNING_KEY", random_hex::<32>());
    vars.set_default("DATABASE_URL", IN_MEMORY);
    vars.set_default("CHATKIT_UPLOADS_DIR", folder.path("uploads"));
    if matches!(cast, Cast::Sandbox { model: None, .. }) {
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

/// What is said once it listens: the address first, and no other that a terminal would make a link
/// of.
fn welcome(address: SocketAddr, cast: &Cast, config: &Config) -> String {
    let ip = address.ip();
    let (host, port) = if ip.is_loopback() || ip.is_unspecified() {
        ("localhost".to_owned(), address.port())
    } else {
        (SocketAddr::new(ip, 0).to_string().trim_end_matches(":0").to_owned(), address.port())
    };
    let at = format!("{host}:{port}");
    let bearer =
        format!("-H \"Authorization: Bearer $(curl -sSd '' {at}/dev/token | cut -d'\"' -f4)\"");
    let mut curls = format!("  curl -sSX POST {at}/api/chatkit/session {bearer}\n");
    if matches!(config.mode, config::Mode::SelfHosted(_)) {
        let body = r#"{"type":"threads.create","params":{"input":{"content":[{"type":"input_text","text":"Hello"}]}}}"#;
        curls += &format!(
            "  curl -sSN {at}/api/chatkit {bearer} -H content-type:application/json -d '{body}'\n"
        );
    }
    let about = about_upstream(cast, config);
    format!(
        "Open http://{at}/\n\n\
         The page signs you in as ada. Pages on any port of localhost may use this server too.\n\
         {about}\n\n\
         By hand:\n\n{curls}\n\
         The keys are made up for this run. Ctrl-C ends it."
    )
}

/// Who answers, and how somebody else would.
fn about_upstream(cast: &Cast, config: &Config) -> String {
    let at = config.upstream.base.host_str().unwrap_or_default();
    let own = match (&config.mode, cast) {
        (config::Mode::Hosted(_), Cast::Named) => return format!("OpenAI is at {at}."),
        (config::Mode::Hosted(_), Cast::Sandbox { has_key, .. }) => {
            let about_key = about_key(*has_key, config);
            return format!(
                "OpenAI is played by a sandbox in this process: sessions are made, the chat itself \
                 does not run.\n\
                 For the real one set CHATKIT_API_BASE, OPENAI_API_KEY and \
                 CHATKIT_WORKFLOW_ID.{about_key}"
            );
        }
        (config::Mode::SelfHosted(own), _) => own,
    };
    let who = match cast {
        Cast::Named => {
            let agents = own.agents.by_name.values().map(|agent| {
                format!(
                    "{} at {}",
                    agent.model,
                    agent.endpoint.base_url.host_str().unwrap_or_default()
                )
            });
            let agents: BTreeSet<_> = agents.collect();
            format!("Answers come from {}.", agents.into_iter().collect::<Vec<_>>().join(", "))
        }
        Cast::Sandbox { model: Some(model), .. } => format!(
            "{model} is set, OPENAI_API_KEY and OPENAI_BASE_URL are not: a script in this process \
             plays every model without an address of its own."
        ),
        Cast::Sandbox { model: None, has_key, .. } => format!(
            "The model is a script in this process. Words that it knows: long, think, search, \
             cite, tool, image, fail.\n\
             For a real one set OPENAI_API_KEY and CHATKIT_MODEL (and OPENAI_BASE_URL, if it is \
             not OpenAI's).{}",
            about_key(*has_key, config)
        ),
    };
    let is_kept = own.database_url.expose() != IN_MEMORY;
    let threads = if is_kept {
        ""
    } else {
        "\nThreads are kept in memory. DATABASE_URL=sqlite://data/chatkit.db keeps them."
    };
    format!("{who}{threads}")
}

/// What the sandbox does with a key that was set.
fn about_key(has_key: bool, config: &Config) -> &'static str {
    match &config.upstream.api_key {
        Some(key) if has_key && key.expose().starts_with("sk-") => {
            "\nOPENAI_API_KEY is set; the sandbox gets it, OpenAI does not."
        }
        Some(_) if has_key => {
            "\nOPENAI_API_KEY is set, and the sandbox gets it. It does not start with `sk-`, so \
             the sandbox refuses it: unset it, or set another."
        }
        Some(_) | None => "",
    }
}

/// Runs the stand-in alone, until a signal ends it.
pub(super) async fn sandbox(
    mut vars: Environment,
    port: u16,
    output: Output,
) -> Result<(), Failure> {
    if !vars.has("HOST") {
        vars.set("HOST", "127.0.0.1");
    }
    let config = read(&vars, ServiceConfig::from_vars)?;
    let host = &config.host;
    serve::start_logs(&config)?;
    let server =
        Server::bind(host, port).await.with_context(|| format!("{host}:{port} can't be bound"))?;
    let address = server.local_addr();
    if output.print_addr {
        say(address)?;
    } else {
        say(format_args!(
            "A stand-in for OpenAI's API listens on http://{address}\n\
             Set CHATKIT_API_BASE=http://{address} (in self-hosted mode \
             OPENAI_BASE_URL=http://{address}/v1) and OPENAI_API_KEY=sk-anything to use it."
        ))?;
    }
    let lifecycle = Lifecycle::default();
    let signals = signals().map_err(|error| anyhow!(error))?;
    let router = sandbox::router(Arc::new(SystemClock));
    lifecycle.tasks().spawn(server.serve(
        answer_with(router),
        SANDBOX_CONNECTIONS,
        lifecycle.clone(),
    ));
    lifecycle.run_until(signals, std::time::Duration::from_secs(1)).await;
    Ok(())
}
