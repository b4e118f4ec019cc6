//! Servers with a certificate of their own: what is accepted, and what usher says where it is not.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::scene::Scene;
use usher::api::ProviderCredential;
use usher_sandbox::vendors::{Options, Vendor};

/// A certificate for localhost, by itself or by `issuer`.
fn certificate(is_ca: bool, issuer: Option<&Issuer<'_, KeyPair>>) -> (rcgen::Certificate, KeyPair, CertificateParams) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, if is_ca { "Example CA" } else { "localhost" });
    params.is_ca = if is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
    let key = KeyPair::generate().unwrap();
    let made = match issuer {
        Some(issuer) => params.signed_by(&key, issuer),
        None => params.self_signed(&key),
    };
    (made.unwrap(), key, params)
}

/// A server that shows this certificate and closes every connection after that; its port.
async fn serve(certificate: CertificateDer<'static>, key: &KeyPair) -> u16 {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    port
}

/// What the credential says of a server at this port, where `bundle` is trusted.
async fn said(port: u16, bundle: Option<String>) -> String {
    let scene = Scene::without_credential(Vendor::Ozmap, Options::default()).await;
    scene.apply_secret("main").await;
    let url = format!("https://localhost:{port}/api/v2");
    let bundle = bundle.map(|pem| data_encoding::BASE64.encode(pem.as_bytes()));
    scene.apply_credential(json!({"provider": {"ozmap": {"url": url}}, "caBundle": bundle})).await;
    let credential: ProviderCredential = scene.credential_says("ProviderUnavailable").await;
    let conditions = credential.status.unwrap().conditions;
    conditions.into_iter().find(|condition| condition.type_ == "Ready").unwrap().message
}

#[tokio::test]
async fn a_ca_certificate_as_the_servers_own_is_told_with_the_way_out() {
    let (made, key, _) = certificate(true, None);
    let said = said(serve(made.der().clone(), &key).await, Some(made.pem())).await;
    assert!(said.contains("shows a CA certificate as its own: make a CA, let it sign a certificate"), "{said}");
}

#[tokio::test]
async fn an_unknown_issuer_is_told_with_the_way_out() {
    let (_, key, params) = certificate(true, None);
    let (made, leaf_key, _) = certificate(false, Some(&Issuer::new(params, key)));
    let port = serve(made.der().clone(), &leaf_key).await;
    let said = said(port, Some(made.pem())).await;
    assert!(
        said.contains("put the certificate of the CA that issued the server's certificate into spec.caBundle"),
        "{said}"
    );
}

#[tokio::test]
async fn a_certificate_of_a_private_ca_is_accepted() {
    let (ca, key, params) = certificate(true, None);
    let (made, leaf_key, _) = certificate(false, Some(&Issuer::new(params, key)));
    let said = said(serve(made.der().clone(), &leaf_key).await, Some(ca.pem())).await;
    assert!(!said.contains("certificate") && !said.contains("caBundle"), "{said}");
}
