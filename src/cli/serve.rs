//! `serve`: the service, from the environment.

use std::io::IsTerminal;

use anyhow::anyhow;
use tracing_subscriber::EnvFilter;

use super::{Failure, Output, config, say};
use crate::config::env::Environment;
use crate::config::service::ServiceConfig;
use crate::config::{Config, Mode};
use crate::lifecycle::signals;
use crate::service::{Own, Service};
use crate::telemetry::logs::{self, LogFormat};

/// What hosted mode says at its start, ten days before the end and after it.
const END_OF_HOSTED: &str = "OpenAI ends Agent Builder, which runs the workflows of hosted \
                             sessions, on 2026-11-30; from then on a site speaks the ChatKit \
                             protocol itself: CHATKIT_MODE=self-hosted, with CHATKIT_SIGNING_KEY \
                             and CHATKIT_MODEL";

/// Runs the service until a signal ends it.
pub(super) async fn serve(vars: &Environment, output: Output) -> Result<(), Failure> {
    let config = config(vars)?;
    start_logs(&config.service)?;
    log_warnings(vars, &config);
    let service = Service::bind(config, Own::default()).await?;
    run(service, output).await
}

/// Serves, says where, and ends at a signal.
pub(super) async fn run(service: Service, output: Output) -> Result<(), Failure> {
    let address = service.local_addr();
    let signals = signals().map_err(|error| anyhow!(error))?;
    tracing::info!(%address, "listening");
    if output.print_addr {
        say(address)?;
    }
    service.run(signals).await;
    Ok(())
}

/// Logs what is allowed and yet probably not meant, and that hosted mode comes to an end.
pub(super) fn log_warnings(vars: &Environment, config: &Config) {
    for warning in super::warnings(vars, config) {
        tracing::warn!("{warning}");
    }
    if matches!(config.mode, Mode::Hosted(_)) {
        tracing::warn!("{END_OF_HOSTED}");
    }
}

/// Starts logging as configured: text on a terminal and JSON elsewhere, unless told otherwise.
pub(super) fn start_logs(config: &ServiceConfig) -> Result<(), Failure> {
    let terminal = std::io::stderr().is_terminal();
    let format =
        config.log_format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let filter = EnvFilter::try_new(&config.log_filter).map_err(|error| anyhow!(error))?;
    logs::start(filter, format).map_err(|error| Failure::Work(anyhow!(error)))
}
