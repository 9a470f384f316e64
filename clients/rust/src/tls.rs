//! TLS, by rustls.

use std::fmt;
use std::path::Path;

use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::errors::Error;

/// Whom to trust, and what to show. Needs the feature `tls`.
#[derive(Clone)]
pub struct Tls {
    pub(crate) config: ClientTlsConfig,
}

impl Tls {
    /// Trusts the certificates of the public authorities that this system trusts.
    pub fn public() -> Self {
        Self { config: ClientTlsConfig::new().with_native_roots() }
    }

    /// Trusts the certificates that are signed by those in a PEM file.
    ///
    /// # Errors
    ///
    /// The file can't be read, or is no PEM file.
    pub fn from_file(roots: impl AsRef<Path>) -> Result<Self, Error> {
        let pem = read("roots", roots.as_ref())?;
        Ok(Self { config: ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)) })
    }

    /// Shows a certificate to the server, of PEM files.
    ///
    /// # Errors
    ///
    /// A file can't be read, or is no PEM file.
    pub fn identity(mut self, cert: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, Error> {
        let identity = Identity::from_pem(read("cert", cert.as_ref())?, read("key", key.as_ref())?);
        self.config = self.config.identity(identity);
        Ok(self)
    }
}

fn read(what: &str, path: &Path) -> Result<String, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::invalid(what, format!("{} can't be read: {error}", path.display())))?;
    if !text.contains("-----BEGIN ") {
        return Err(Error::invalid(what, format!("{} is no PEM file", path.display())));
    }
    Ok(text)
}

impl fmt::Debug for Tls {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
