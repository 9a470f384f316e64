//! How to speak to a server: TLS, the token, and the connection's own settings.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Endpoint;

use crate::errors::Error;

/// What batches and pages may measure (4 MiB) and room for the frame around them.
pub(crate) const MESSAGE_BYTES: usize = 5 * 1024 * 1024;

type TokenResult = Result<String, Box<dyn StdError + Send + Sync>>;

/// How to speak to a server. The default speaks plain text, without a token.
#[derive(Clone, Default)]
pub struct Access {
    token: Token,
    #[cfg(feature = "tls")]
    tls: Option<crate::tls::Tls>,
    #[cfg(feature = "otel")]
    traces: Option<crate::otel::OpenTelemetry>,
}

#[derive(Clone, Default)]
enum Token {
    #[default]
    None,
    Fixed(String),
    Source(Arc<dyn Fn() -> BoxFuture<'static, TokenResult> + Send + Sync>),
}

impl Access {
    /// Plain text, without a token.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends `authorization: Bearer <token>` with every call.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Token::Fixed(token.into());
        self
    }

    /// Asks for the token at every call and every connect, for tokens that are renewed.
    #[must_use]
    pub fn token_source<F, R>(mut self, source: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = TokenResult> + Send + 'static,
    {
        self.token = Token::Source(Arc::new(move || source().boxed()));
        self
    }

    /// Speaks TLS.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    #[must_use]
    pub fn tls(mut self, tls: crate::tls::Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Makes spans of a worker's attempts, where a job's producer was sampled, and sends the trace of the current span with
    /// each call. Default: no traces, and OpenTelemetry is not called.
    #[cfg(feature = "otel")]
    #[cfg_attr(docsrs, doc(cfg(feature = "otel")))]
    #[must_use]
    pub fn traces(mut self, traces: crate::otel::OpenTelemetry) -> Self {
        self.traces = Some(traces);
        self
    }

    /// The span of an attempt; `None`: it has none.
    #[cfg(feature = "otel")]
    pub(crate) fn begin(&self, job: &crate::worker::LeasedJob, lease: i64) -> Option<crate::otel::HandlerSpan> {
        self.traces.as_ref().and_then(|traces| traces.begin(job, lease))
    }

    /// Adds the token to the metadata of a call, and the trace that it belongs to.
    pub(crate) async fn authorize<T>(&self, request: &mut tonic::Request<T>) -> Result<(), Error> {
        #[cfg(feature = "otel")]
        if self.traces.is_some()
            && let Some(value) = crate::otel::traceparent().and_then(|text| AsciiMetadataValue::try_from(text).ok())
        {
            request.metadata_mut().insert(crate::otel::HEADER, value);
        }
        let token = match &self.token {
            Token::None => return Ok(()),
            Token::Fixed(token) => token.clone(),
            Token::Source(source) => {
                source().await.map_err(|error| Error::invalid("token", format!("could not be had: {error}")))?
            }
        };
        let mut value = AsciiMetadataValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Error::invalid("token", "has characters that no header may have"))?;
        value.set_sensitive(true);
        request.metadata_mut().insert("authorization", value);
        Ok(())
    }

    /// The address of a server with everything that a connection to it needs; nothing is sent yet.
    #[cfg_attr(not(feature = "tls"), expect(clippy::unused_self, reason = "without TLS it is the same for all"))]
    pub(crate) fn endpoint(&self, target: &str) -> Result<Endpoint, Error> {
        #[cfg(feature = "tls")]
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        #[cfg(not(feature = "tls"))]
        let scheme = "http";
        let address = target.strip_prefix("dns:///").unwrap_or(target);
        let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .ok()
            .filter(|endpoint| endpoint.uri().port_u16().is_some_and(|port| port > 0) && endpoint.uri().path() == "/")
            .ok_or_else(|| {
                let url = ["http://", "https://"]
                    .iter()
                    .any(|scheme| target.get(..scheme.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(scheme)));
                let without = if url { ", without http://" } else { "" };
                Error::invalid("target", format!("must be HOST:PORT, such as 127.0.0.1:50051{without}"))
            })?
            .user_agent(crate::CLIENT_NAME)?
            .connect_timeout(Duration::from_secs(5))
            // A dead connection is found 10 + 5 s after its last sign of life.
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return endpoint
                .tls_config(tls.config.clone())
                .map_err(|error| Error::invalid("tls", format!("can't be used: {error}")));
        }
        Ok(endpoint)
    }
}

impl fmt::Debug for Access {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["127.0.0.1:50051", "[::1]:50051", "dns:///jobs.internal:50051"] {
            Access::new().endpoint(good).unwrap();
        }
        let words = "must be HOST:PORT, such as 127.0.0.1:50051";
        for bad in
            ["", "127.0.0.1", "a b:1", "host:port", "host:0", "host:65536", "host:1/path", "[::1]", "dns:///host"]
        {
            let error = Access::new().endpoint(bad).unwrap_err();
            assert_eq!(
                (&*error.violations()[0].field, &*error.violations()[0].description),
                ("target", words),
                "{bad}"
            );
        }
        for bad in ["http://127.0.0.1:50051", "https://jobs.internal", "HTTP://jobs:1/"] {
            let error = Access::new().endpoint(bad).unwrap_err();
            assert_eq!(error.message(), format!("target: {words}, without http://"), "{bad}");
        }
    }

    #[tokio::test]
    async fn the_token_goes_with_the_call_and_into_no_log() {
        let access = Access::new().token_source(|| async { Ok("secret".to_owned()) });
        let mut request = tonic::Request::new(());
        access.authorize(&mut request).await.unwrap();
        assert_eq!(request.metadata().get("authorization").unwrap(), "Bearer secret");
        assert!(!format!("{request:?} {access:?}").contains("secret"));
        let broken = Access::new().token("new\nline");
        assert!(broken.authorize(&mut request).await.is_err());
    }
}
