//! What encrypted connections need.

use rustls::crypto::{CryptoProvider, ring};

/// Makes `ring` the process's cryptography, unless it has one.
///
/// The driver leaves the choice to the process, and panics where several are compiled in and none is chosen.
pub(crate) fn choose_cryptography() {
    if CryptoProvider::get_default().is_none() {
        // Another thread may have chosen meanwhile, which is as good.
        drop(ring::default_provider().install_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_has_cryptography_however_often_it_is_asked_for() {
        choose_cryptography();
        choose_cryptography();
        assert!(CryptoProvider::get_default().is_some());
    }
}
