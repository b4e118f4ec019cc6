//! The words by which vendors refuse, in the languages of their makers and customers: one table for all vendors, because none documents
//! its own words. Usher asks for English, and a server may not care.

/// An account with this key exists.
const TAKEN: &[&str] = &[
    // English, and the databases behind.
    "already",
    "unique",
    "taken",
    "in use",
    "duplicate",
    "registered",
    "e11000",
    // Portuguese (OZmap).
    "já existe",
    "ja existe",
    "já cadastrad",
    "ja cadastrad",
    "já está cadastrad",
    "já registrad",
    "já está em uso",
    "já está sendo",
    "em uso",
    "já utilizad",
    "já foi",
    "duplicad",
    // Spanish (Plaspy, Pegasus).
    "ya existe",
    "ya está",
    "ya esta",
    "ya se encuentra",
    "ya registrad",
    "ya fue",
    "en uso",
    // Turkish (Amani).
    "zaten",
    "kullanımda",
    "kullanılıyor",
    "kullanılmakta",
    "benzersiz",
    "kayıtlıdır",
    "daha önce",
];

/// The same words as surely about a key and not about the server itself.
const SURELY_TAKEN: &[&str] = &[
    "e11000",
    "duplicate",
    "must be unique",
    "already exist",
    "already taken",
    "already registered",
    "já existe",
    "já cadastrad",
    "já está cadastrad",
    "ya existe",
    "ya está registrad",
    "zaten kayıtlı",
    "zaten mevcut",
    "zaten var",
];

/// Something that the request names does not exist.
const ABSENT: &[&str] = &[
    "not exist",
    "n't exist",
    "no longer exist",
    "non-exist",
    "nonexist",
    "not found",
    "not registered",
    // Portuguese.
    "não existe",
    "nao existe",
    "não exista",
    "inexistente",
    "não encontrad",
    "nao encontrad",
    "não cadastrad",
    "não registrad",
    "não está cadastrad",
    // Spanish.
    "no existe",
    "no encontrad",
    "no se encontr",
    "no se ha encontrado",
    "no registrad",
    "no está registrad",
    // Turkish.
    "mevcut değil",
    "bulunamadı",
    "kayıtlı değil",
    "bulunmamaktadır",
    "bulunmuyor",
];

fn has(words: &str, signs: &[&str]) -> bool {
    signs.iter().any(|sign| words.contains(sign))
}

/// Whether `words` mean that something which the request names does not exist.
#[must_use]
pub fn says_absent(words: &str) -> bool {
    has(&words.to_lowercase(), ABSENT)
}

/// Whether `words` mean that an account with this key exists.
#[must_use]
pub fn says_taken(words: &str) -> bool {
    let lower = words.to_lowercase();
    // The English word alone: "existe" and "existiert" say nothing without the words around them.
    let exists = lower.split(|letter: char| !letter.is_alphabetic()).any(|word| matches!(word, "exist" | "exists"));
    !says_absent(words) && (exists || has(&lower, TAKEN))
}

/// The same for an answer with this status: the words of a 5xx and of a time-out may be about the server itself, so only
/// unambiguous phrases count.
#[must_use]
pub fn means_taken(status: u16, words: &str) -> bool {
    let is_servers = status >= 500 || status == 408;
    says_taken(words) && (!is_servers || has(&words.to_lowercase(), SURELY_TAKEN))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("User already exists", true)]
    #[case::django("user with this email already exists.", true)]
    #[case::unique("This field must be unique.", true)]
    #[case::taken("That username is TAKEN", true)]
    #[case::in_use("E-mail in use", true)]
    #[case::mongo("E11000 duplicate key error collection: ozmap.users index: email_1", true)]
    #[case::registered("This address is registered", true)]
    #[case::exists("A user with this name exists", true)]
    #[case::absent("Role does not exist", false)]
    #[case::absent_short("The project doesn't exist", false)]
    #[case::not_registered("Device not registered", false)]
    #[case::bad("Enter a valid email address.", false)]
    #[case::portuguese("E-mail já cadastrado", true)]
    #[case::portuguese_exists("JÁ EXISTE um usuário com este e-mail", true)]
    #[case::portuguese_in_use("Este login já está em uso.", true)]
    #[case::portuguese_absent("Projeto não existe", false)]
    #[case::portuguese_not_found("Cargo não encontrado", false)]
    #[case::portuguese_bad("E-mail inválido", false)]
    #[case::spanish("El correo ya está registrado", true)]
    #[case::spanish_exists("Ya existe un usuario con ese correo", true)]
    #[case::spanish_absent("El grupo no existe", false)]
    #[case::spanish_bad("El correo no es válido", false)]
    #[case::turkish("Bu e-posta adresi zaten kayıtlı.", true)]
    #[case::turkish_in_use("Bu e-posta kullanımda", true)]
    #[case::turkish_absent("Rol mevcut değil", false)]
    #[case::turkish_not_found("Rol bulunamadı", false)]
    #[case::french_absent("Le rôle n'existe pas", false)]
    #[case::german_absent("Die Rolle existiert nicht", false)]
    fn a_taken_key_is_told_by_the_usual_phrases(#[case] words: &str, #[case] taken: bool) {
        assert_eq!(says_taken(words), taken);
    }

    #[rstest]
    #[case::database("E11000 duplicate key error collection: ozmap.users index: email_1", true)]
    #[case::duplicate("Duplicate email", true)]
    #[case::plain("The user already exists", true)]
    #[case::portuguese("E-mail já cadastrado", true)]
    #[case::connection("An existing connection was forcibly closed by the remote host.", false)]
    #[case::headers("Cannot set headers: headers already sent", false)]
    #[case::transaction("Transaction already in progress", false)]
    #[case::port("Address in use", false)]
    fn a_failure_of_the_server_is_not_mistaken_for_a_taken_key(#[case] words: &str, #[case] taken: bool) {
        assert_eq!(means_taken(500, words), taken);
    }
}
