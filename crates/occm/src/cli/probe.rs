//! `occm probe`: asks a running manager whether it is ready. For images without a shell.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cli::out;

/// Longest time for everything.
const LIMIT: Duration = Duration::from_secs(10);
/// Largest answer, in bytes.
const MAX_ANSWER: u64 = 64 * 1024;

/// What is asked.
#[derive(Args)]
pub(crate) struct Probe {
    /// Address of the health port's page, such as http://127.0.0.1:8081/readyz
    #[arg(value_name = "URL")]
    url: String,
}

impl Probe {
    /// Prints the answer; success is a 2xx.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let (authority, path) = parse(&self.url)?;
        let answer = tokio::time::timeout(LIMIT, ask(authority, path))
            .await
            .with_context(|| format!("{}: no answer within {LIMIT:?}", self.url))?
            .with_context(|| self.url.clone())?;
        let (code, body) = read(&answer).with_context(|| format!("{}: no HTTP answer", self.url))?;
        if !(200..300).contains(&code) {
            bail!("{}: status {code}: {}", self.url, body.trim());
        }
        out::line(body.trim());
        Ok(ExitCode::SUCCESS)
    }
}

/// Host with port, and path.
fn parse(url: &str) -> anyhow::Result<(&str, &str)> {
    let allowed = || format!("`{url}` is no address; allowed: http://HOST:PORT/PATH");
    let rest = url.strip_prefix("http://").with_context(allowed)?;
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let port = authority
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_none() || url.contains(char::is_whitespace) {
        bail!(allowed());
    }
    Ok((authority, if path.is_empty() { "/" } else { path }))
}

async fn ask(authority: &str, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(authority).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(answer)
}

fn read(answer: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let code = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((code, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_host_port_and_path() {
        assert_eq!(parse("http://a.b:81/readyz").unwrap(), ("a.b:81", "/readyz"));
        assert_eq!(parse("http://[::1]:81").unwrap(), ("[::1]:81", "/"));
        for wrong in [
            "a:81/x",
            "https://a:81/",
            "http://a/x",
            "http://a:b/",
            "http://a:1/x y",
        ] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(
                error.contains("allowed: http://HOST:PORT/PATH"),
                "{wrong}: {error}"
            );
        }
    }

    #[test]
    fn what_is_no_http_is_no_answer() {
        assert_eq!(
            read(b"HTTP/1.0 503 Service Unavailable\r\n\r\nno"),
            Some((503, "no".to_owned()))
        );
        assert_eq!(read(b"SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(read(b""), None);
    }
}
