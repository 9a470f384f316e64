//! What the environment says of a server and how to speak to it: the names of the command line.

use crate::access::Access;
use crate::errors::Error;

/// The environment, or what a test has instead. Empty values are as none.
pub(crate) struct Environment<F>(pub(crate) F);

/// That of this process.
pub(crate) fn of_process() -> Environment<impl Fn(&str) -> Option<String>> {
    Environment(|name: &str| std::env::var(name).ok())
}

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    pub(crate) fn server(&self) -> String {
        self.get("JOBQUEUE_SERVER").unwrap_or_else(|| "127.0.0.1:50051".to_owned())
    }

    pub(crate) fn access(&self) -> Result<Access, Error> {
        let mut access = Access::new();
        if let Some(token) = self.get("JOBQUEUE_TOKEN") {
            access = access.token(token);
        }
        let (cert, key) = (self.get("JOBQUEUE_TLS_CLIENT_CERT"), self.get("JOBQUEUE_TLS_CLIENT_KEY"));
        if cert.is_some() != key.is_some() {
            return Err(Error::invalid(
                if cert.is_some() { "JOBQUEUE_TLS_CLIENT_KEY" } else { "JOBQUEUE_TLS_CLIENT_CERT" },
                "is not set: a certificate and its key go together",
            ));
        }
        match (self.get("JOBQUEUE_TLS_ROOTS"), cert.zip(key)) {
            (Some(roots), identity) => with_tls(access, &roots, identity),
            (None, None) => Ok(access),
            (None, Some(_)) => Err(Error::invalid(
                "JOBQUEUE_TLS_ROOTS",
                "is not set: a client's certificate needs it, a PEM file, or public",
            )),
        }
    }
}

#[cfg(feature = "tls")]
fn with_tls(access: Access, roots: &str, identity: Option<(String, String)>) -> Result<Access, Error> {
    use crate::tls::Tls;
    let mut tls = if roots == "public" { Tls::public() } else { Tls::from_file(roots)? };
    if let Some((cert, key)) = identity {
        tls = tls.identity(cert, key)?;
    }
    Ok(access.tls(tls))
}

#[cfg(not(feature = "tls"))]
fn with_tls(_: Access, _: &str, _: Option<(String, String)>) -> Result<Access, Error> {
    Err(Error::invalid("JOBQUEUE_TLS_ROOTS", "needs the crate's feature tls"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &'static [(&str, &str)]) -> Environment<impl Fn(&str) -> Option<String>> {
        Environment(move |name: &str| {
            values.iter().find(|(each, _)| *each == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_says_where_the_server_is_and_what_is_missing() {
        assert_eq!(of(&[]).server(), "127.0.0.1:50051");
        assert_eq!(of(&[("JOBQUEUE_SERVER", " jobs:1 ")]).server(), "jobs:1");
        of(&[("JOBQUEUE_TLS_ROOTS", "")]).access().unwrap();
        for (field, values) in [
            (
                "JOBQUEUE_TLS_CLIENT_KEY",
                [("JOBQUEUE_TLS_ROOTS", "public"), ("JOBQUEUE_TLS_CLIENT_CERT", "a")].as_slice(),
            ),
            ("JOBQUEUE_TLS_CLIENT_CERT", &[("JOBQUEUE_TLS_CLIENT_KEY", "a")]),
            ("JOBQUEUE_TLS_ROOTS", &[("JOBQUEUE_TLS_CLIENT_CERT", "a"), ("JOBQUEUE_TLS_CLIENT_KEY", "b")]),
        ] {
            assert_eq!(of(values).access().unwrap_err().violations()[0].field, field);
        }
    }

    #[tokio::test]
    async fn the_environments_token_goes_with_each_call() {
        let access = of(&[("JOBQUEUE_TOKEN", "jq_1")]).access().unwrap();
        let mut request = tonic::Request::new(());
        access.authorize(&mut request).await.unwrap();
        assert_eq!(request.metadata().get("authorization").unwrap(), "Bearer jq_1");
    }
}
