//! Links this component as all are.

#[path = "../rt/link.rs"]
mod link;

fn main() {
    link::component();
}
