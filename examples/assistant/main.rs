//! The service with an agent of the program's own: `cargo run --example assistant`, then open the address that it says.

mod agent;

use std::collections::HashMap;
use std::sync::Arc;

use chatkit_server::agent::Agent;
use chatkit_server::config::Config;
use chatkit_server::lifecycle;
use chatkit_server::service::{Own, Service};

#[tokio::main]
#[expect(clippy::print_stderr, reason = "an example talks to the one who runs it")]
async fn main() -> anyhow::Result<()> {
    let config = Config::from_vars(&|name| match name {
        "CHATKIT_MODE" => Some("self-hosted".into()),
        // The agent below takes the place of this model, so nothing is ever sent there.
        "CHATKIT_MODEL" => Some("none".into()),
        "OPENAI_BASE_URL" => Some("http://127.0.0.1:9/v1".into()),
        "DATABASE_URL" => Some("sqlite::memory:".into()),
        "CHATKIT_SIGNING_KEY" => Some("a signing key of at least thirty-two bytes".into()),
        // Anybody who opens the page is a user.
        "AUTH_ANONYMOUS" => Some("on".into()),
        "CHATKIT_COOKIE_KEY" => Some("a cookie key of at least thirty-two bytes".into()),
        _ => std::env::args().nth(1).filter(|_| name == "PORT"),
    })
    .map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let assistant: Arc<dyn Agent> = Arc::new(agent::Assistant);
    let agents = HashMap::from([("default".to_owned(), assistant)]);
    let service = Service::bind(config, Own { agents, ..Own::default() }).await?;
    eprintln!("http://{}", service.local_addr());
    service.run(lifecycle::signals()?).await;
    Ok(())
}
