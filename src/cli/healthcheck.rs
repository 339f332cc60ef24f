//! `healthcheck`: is the server on this host ready? For a container that has no shell.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Failure, read};
use crate::config::env::Environment;
use crate::config::service::{host, metrics, port};

/// How long the server may take to answer at one address. Two of them fit the five seconds of the
/// image's `HEALTHCHECK`.
const DEADLINE: Duration = Duration::from_secs(2);

/// Asks `/readyz` at `METRICS_ADDR`, which answers while every connection of the front door is
/// taken too; where that is not set, or nothing listens there, where `HOST` and `PORT` say the
/// server listens.
pub(super) async fn healthcheck(vars: &Environment) -> Result<(), Failure> {
    let (host, port, metrics) = read(vars, |vars| (host(vars), port(vars), metrics(vars)))?;
    let metrics =
        metrics.filter(|addr| addr.port() != 0).map(|addr| (addr.ip().to_string(), addr.port()));
    let mut answer = Err(anyhow!("no address is named").into());
    for (host, port) in metrics.into_iter().chain([(host, port)]) {
        let host = reachable(&host);
        let status = tokio::time::timeout(DEADLINE, readiness(host, port)).await;
        let status =
            status.map_err(|_| anyhow!("{host}:{port} did not answer within 2 seconds").into());
        answer = status.flatten();
        if answer.is_ok() {
            break;
        }
    }
    let status = answer?;
    if status == "200" { Ok(()) } else { Err(anyhow!("/readyz answered {status}").into()) }
}

/// Where a server on this host is reached that listens at this address.
fn reachable(host: &str) -> &str {
    match host.parse() {
        Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => "127.0.0.1",
        Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => "::1",
        _ => host,
    }
}

/// The status of `GET /readyz`. One plain request needs no client, and so no certificates.
async fn readiness(host: &str, port: u16) -> Result<String, Failure> {
    let mut stream = TcpStream::connect((host, port))
        .await
        .with_context(|| format!("{host}:{port} can't be reached"))?;
    let request = "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.context("the request could not be sent")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.context("the answer broke off")?;
    let head = String::from_utf8_lossy(&head);
    Ok(head.split(' ').nth(1).unwrap_or_default().to_owned())
}
