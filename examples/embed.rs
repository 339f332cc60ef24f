//! The service as a part of another program: `cargo run --example embed`.

use chatkit_server::config::Config;
use chatkit_server::lifecycle;
use chatkit_server::service::{Own, Service};

#[tokio::main]
#[expect(clippy::print_stderr, reason = "an example talks to the one who runs it")]
async fn main() -> anyhow::Result<()> {
    let config = Config::from_vars(&|name| match name {
        "OPENAI_API_KEY" => Some("sk-…".into()),
        "CHATKIT_WORKFLOW_ID" => Some("wf_…".into()),
        "JWT_SECRET" => Some("at least thirty-two bytes of secret".into()),
        "PORT" => Some("0".into()),
        _ => None,
    })
    .map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let service = Service::bind(config, Own::default()).await?;
    eprintln!("http://{}", service.local_addr());
    service.run(lifecycle::signals()?).await;
    Ok(())
}
