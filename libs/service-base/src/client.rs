//! HTTP clients: one constructor for calls between our own services, one for calls to other parties.
//!
//! Neither reads the environment's proxy variables (`HTTP_PROXY`, `ALL_PROXY`, …). A call between our services carries secrets in clear over
//! a network that belongs to us, and would hand them to the proxy's operator. A call to another party uses a proxy where its own
//! section of the configuration names one. `clippy.toml` refuses every other way to make a client.

use reqwest::{ClientBuilder, Proxy, Url, redirect::Policy};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

/// A client for our own services and for this machine: no proxy, and no redirect is followed, since an address is configuration and not
/// something to be talked out of.
pub fn internal() -> ClientBuilder {
    bare()
}

/// A client for other parties: through `proxy` where one is configured, else directly. No redirect is followed.
///
/// # Errors
/// When the proxy's URL cannot be used.
pub fn outgoing(proxy: &ProxyUrl) -> Result<ClientBuilder, InvalidProxy> {
    let Some(url) = proxy.parse()? else { return Ok(bare()) };
    let proxy = Proxy::all(url).map_err(|_| InvalidProxy)?;
    Ok(bare().proxy(proxy))
}

#[expect(clippy::disallowed_methods, reason = "the one place where clients are made")]
fn bare() -> ClientBuilder {
    reqwest::Client::builder().no_proxy().redirect(Policy::none())
}

/// Not the URL of a proxy. Never holds it: there may be a password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be http://[user:password@]host:port or https://[user:password@]host:port, or be empty")]
pub struct InvalidProxy;

/// `http://[user:password@]host:port`, through which calls to another party go. Empty: directly. Shown without its credentials.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct ProxyUrl(SecretString);

impl ProxyUrl {
    /// The URL; `None` where there is none.
    ///
    /// # Errors
    /// When it is not of a proxy.
    fn parse(&self) -> Result<Option<Url>, InvalidProxy> {
        let text = self.0.expose_secret();
        if text.is_empty() {
            return Ok(None);
        }
        let url = Url::parse(text).map_err(|_| InvalidProxy)?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.path() == "/"
            && (url.query(), url.fragment()) == (None, None);
        if plain { Ok(Some(url)) } else { Err(InvalidProxy) }
    }

    /// For a section's validation.
    ///
    /// # Errors
    /// When it is not of a proxy.
    pub fn check(&self) -> Result<(), InvalidProxy> {
        self.parse().map(drop)
    }

    /// Scheme, host and port; nothing of what cannot be read as a URL.
    fn shown(&self) -> String {
        match self.parse() {
            Ok(None) => String::new(),
            Ok(Some(url)) => url.origin().ascii_serialization(),
            Err(InvalidProxy) => "(not a URL)".to_owned(),
        }
    }
}

crate::shown_in_part!(ProxyUrl);

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[test]
    fn a_proxy_is_a_url_of_a_host_and_is_shown_without_its_password() {
        for good in ["", "http://proxy:3128", "https://user:hunter2@proxy.example:443/"] {
            ProxyUrl::from(good).check().unwrap_or_else(|error| panic!("{good}: {error}"));
        }
        for bad in ["proxy:3128", "socks5://proxy:1080", "http://", "http://proxy/path", "http://proxy?x", "http://a b"]
        {
            assert_eq!(ProxyUrl::from(bad).check(), Err(InvalidProxy), "{bad}");
        }
        let proxy = ProxyUrl::from("http://user:hunter2@proxy:3128");
        assert_eq!(serde_json::to_string(&proxy).unwrap(), r#""http://proxy:3128""#);
        let shown = format!("{proxy:?} {:?}", ProxyUrl::from("user:hunter2@proxy"));
        assert!(!shown.contains("hunter2") && !shown.contains("user"), "{shown}");
    }

    #[tokio::test]
    async fn an_outgoing_client_asks_the_proxy_that_is_configured() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let proxy = tokio::spawn(async move {
            let (mut caller, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let read = caller.read(&mut head).await.unwrap();
            caller.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            String::from_utf8_lossy(&head[..read]).to_lowercase()
        });
        let client = outgoing(&ProxyUrl::from(format!("http://user:hunter2@{at}").as_str())).unwrap().build().unwrap();
        let answer = client.get("http://elsewhere.invalid/hook").send().await.unwrap();
        assert_eq!(answer.status(), 204);
        let head = proxy.await.unwrap();
        assert!(head.starts_with("get http://elsewhere.invalid/hook "), "{head}");
        assert!(head.contains("proxy-authorization: basic dxnlcjpodw50zxiy"), "{head}");
    }

    #[tokio::test]
    async fn nothing_is_followed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                let mut head = [0; 1024];
                let _ = caller.read(&mut head).await;
                let _ = caller.write_all(b"HTTP/1.1 302 Found\r\nlocation: /on\r\ncontent-length: 0\r\n\r\n").await;
            }
        });
        for builder in [internal(), outgoing(&ProxyUrl::default()).unwrap()] {
            let answer = builder.build().unwrap().get(format!("http://{at}/")).send().await.unwrap();
            assert_eq!(answer.status(), 302);
        }
    }
}
