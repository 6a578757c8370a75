//! Creates a certificate for nsqd on this machine, and the authority that signs it.
//!
//! `certificate FOLDER` writes `ca.pem`, which clients trust, `cert.pem` and `key.pem`. The key of
//! the authority is not kept.

use std::{env, error::Error, fs, path::Path, process::ExitCode};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1) else {
        eprintln!("usage: certificate FOLDER");
        return ExitCode::from(2);
    };
    match write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("certificate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut authority = CertificateParams::default();
    let name = &mut authority.distinguished_name;
    name.push(DnType::CommonName, "comparison authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority_key = KeyPair::generate()?;
    fs::write(
        folder.join("ca.pem"),
        authority.self_signed(&authority_key)?.pem(),
    )?;

    let mut nsqd = CertificateParams::new(["127.0.0.1".into(), "localhost".into()])?;
    let name = &mut nsqd.distinguished_name;
    name.push(DnType::CommonName, "comparison nsqd");
    nsqd.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    nsqd.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    nsqd.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let issuer = Issuer::new(authority, authority_key);
    fs::write(
        folder.join("cert.pem"),
        nsqd.signed_by(&key, &issuer)?.pem(),
    )?;
    fs::write(folder.join("key.pem"), key.serialize_pem())?;
    Ok(())
}
