//! Builds the HTTP client for the Kubernetes API server.

use anyhow::{Context as _, ensure};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_timeout::TimeoutConnector;
use hyper_util::{client::legacy, rt::TokioExecutor};
use kube::{
    Config,
    client::{Body, ClientBuilder, ConfigExt as _},
};
use tower::{BoxError, Service, ServiceBuilder};

/// Read buffer of a connection in bytes. A connection holds its buffer while it is open, and each watch has a
/// connection of its own. With the library's limit of 400 kB, every long list would grow the buffer to that size.
const AHEAD: usize = 16 << 10;

/// Client builder with the timeouts of `config`. It equals the library's own client except for the read buffer, and it
/// sends each request once.
///
/// # Errors
/// Fails if `config` cannot be used.
pub fn client(config: Config) -> anyhow::Result<ClientBuilder<impl Sends>> {
    // the message omits the URL, which may contain a password
    ensure!(
        config.proxy_url.is_none(),
        "a proxy for the API server is not supported: unset HTTPS_PROXY and https_proxy, and proxy-url in the kubeconfig"
    );
    // fails only if a default is installed already, which is then the same provider
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let tls = config.rustls_https_connector().context("TLS towards the API server")?;
    let mut connector = TimeoutConnector::new(tls);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let http =
        legacy::Client::builder(TokioExecutor::new()).http1_max_buf_size(AHEAD).build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().context("authentication at the API server")?)
        .layer(config.extra_headers_layer().context("headers for the API server")?)
        .map_err(BoxError::from)
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace))
}

/// Service that sends requests to the API server.
pub trait Sends:
    Service<Request<Body>, Response = Response<Incoming>, Error = BoxError, Future: Send> + Send + 'static
{
}

impl<S> Sends for S where
    S: Service<Request<Body>, Response = Response<Incoming>, Error = BoxError, Future: Send> + Send + 'static
{
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// A list of a thousand nodes is longer than the read buffer.
    #[tokio::test]
    async fn an_answer_longer_than_what_is_read_ahead_is_read_whole() {
        let body = "x".repeat(AHEAD * 40);
        let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", server.local_addr().expect("its address")).parse().expect("a URL");
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let serve = async {
            let (mut stream, _) = server.accept().await.expect("a caller");
            assert!(stream.read(&mut [0; 4096]).await.expect("a request") > 0);
            stream.write_all(answer.as_bytes()).await.expect("an answer");
        };
        let client = client(Config::new(url)).expect("a client").build();
        let request = http::Request::get("/").body(vec![]).expect("a request");
        let (read, ()) = tokio::join!(client.request_text(request), serve);
        assert!(read.expect("an answer") == body);
    }

    #[tokio::test]
    async fn a_proxy_is_refused_and_not_passed_by() {
        let mut config = Config::new("http://127.0.0.1:1".parse().expect("a URL"));
        config.proxy_url = Some("http://127.0.0.1:2".parse().expect("a URL"));
        assert!(client(config).is_err());
    }
}
