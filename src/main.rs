//! x
fn main() {
    for d in usher::api::crds::definitions().unwrap() {
        println!("---\n{}", serde_saphyr::to_string(&d).unwrap());
    }
}
