//! The service with an agent of the program's own: `cargo run --example assistant`, then open the
//! address that it says. Everybody is a visitor there, and nobody has to sign in.

mod agent;

use std::collections::HashMap;
use std::sync::Arc;

use chatkit_server::agent::Agent;
use chatkit_server::config::Config;
use chatkit_server::config::env::Environment;
use chatkit_server::ids::new_id;
use chatkit_server::lifecycle;
use chatkit_server::service::{Own, Service};

/// The variables of this process, and for those that are not set what makes a start without any of
/// them.
fn environment() -> anyhow::Result<Environment> {
    let mut vars = Environment::of_process().map_err(|problem| anyhow::anyhow!("{problem}"))?;
    vars.set_default("HOST", "127.0.0.1");
    vars.set_default("CHATKIT_MODE", "self-hosted");
    vars.set_default("DATABASE_URL", "sqlite::memory:");
    vars.set_default("AUTH_ANONYMOUS", "on");
    vars.set_default("CHATKIT_COOKIE_KEY", &*new_id(""));
    vars.set_default("CHATKIT_SIGNING_KEY", &*new_id(""));
    // These make the agent `default`, in whose place the one in agent.rs answers: no model is ever
    // asked.
    vars.set_default("CHATKIT_MODEL", "none");
    vars.set_default("OPENAI_API_KEY", "none");
    Ok(vars)
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "an example talks to the one who runs it")]
async fn main() -> anyhow::Result<()> {
    let config =
        environment()?.read(Config::read).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let assistant: Arc<dyn Agent> = Arc::new(agent::Assistant);
    let agents = HashMap::from([("default".to_owned(), assistant)]);
    let service = Service::bind(config, Own { agents, ..Own::default() }).await?;
    eprintln!("http://{}", service.local_addr());
    service.run(lifecycle::signals()?).await;
    Ok(())
}
