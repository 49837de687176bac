use super::*;
use crate::core::Kind;
use crate::core::actor::Roles;
use crate::core::clock;
use crate::core::ids::{DomainId, RequestId, UserId};

fn actor(project: &str, role: &str) -> Actor {
    Actor {
        user_id: UserId::from("u"),
        user_name: "u".into(),
        user_domain: DomainId::from("default"),
        project_id: Some(ProjectId::from(project)),
        roles: Roles::from_names([role]),
        request_id: RequestId::from("req-1"),
    }
}

fn image(actor: &Actor) -> Image {
    Image::new(ImageId::random(), &[], actor, clock::from_micros(0)).unwrap()
}

#[test]
fn a_new_image_is_shared_queued_and_belongs_to_its_maker() {
    let image = image(&actor("p1", "member"));
    assert_eq!((image.status, image.visibility), (Status::Queued, Visibility::Shared));
    assert_eq!(image.owner, Some(ProjectId::from("p1")));
}

#[test]
fn who_sees_what() {
    let owner = actor("p1", "member");
    let other = actor("p2", "member");
    let admin = actor("p3", "admin");
    let mut image = image(&owner);
    for (visibility, others_see) in [
        (Visibility::Private, false),
        (Visibility::Shared, false),
        (Visibility::Community, true),
        (Visibility::Public, true),
    ] {
        image.visibility = visibility;
        assert!(image.visible_to(&owner) && image.visible_to(&admin));
        assert_eq!(image.visible_to(&other), others_see, "{visibility}");
        assert!(!image.mutable_by(&other));
    }
    image.members.insert(ProjectId::from("p2"));
    image.visibility = Visibility::Shared;
    assert!(image.visible_to(&other));
    image.visibility = Visibility::Private;
    assert!(!image.visible_to(&other), "members of an image that is not shared any more do not see it");
}

#[test]
fn only_administrators_publish_and_give_away() {
    let member = actor("p1", "member");
    let public = [Attribute::Visibility(Visibility::Public)];
    let refused = Image::new(ImageId::random(), &public, &member, clock::from_micros(0)).unwrap_err();
    assert_eq!(refused.message(), "You are not authorized to complete publicize_image action.");
    let foreign = [Attribute::Owner(Some(ProjectId::from("p2")))];
    let refused = Image::new(ImageId::random(), &foreign, &member, clock::from_micros(0)).unwrap_err();
    assert_eq!(refused.kind(), Kind::Forbidden);
    let mut image = image(&member);
    let refused = image.apply(Change::Replace(foreign[0].clone()), &member).unwrap_err();
    assert_eq!(refused.message(), "Owner can't be updated by non admin.");
    assert!(image.apply(Change::Replace(public[0].clone()), &actor("x", "admin")).is_ok());
}

#[test]
fn properties_come_and_go() {
    let owner = actor("p1", "member");
    let mut image = image(&owner);
    let property = |value: &str| Attribute::Property("a/b".into(), Some(value.into()));
    assert_eq!(image.apply(Change::Replace(property("1")), &owner).unwrap_err().kind(), Kind::Conflict);
    image.apply(Change::Add(property("1")), &owner).unwrap();
    image.apply(Change::Add(property("2")), &owner).unwrap();
    assert_eq!(image.apply(Change::AddNew(property("3")), &owner).unwrap_err().kind(), Kind::Conflict);
    assert_eq!(image.properties["a/b"].as_deref(), Some("2"));
    image.apply(Change::RemoveProperty("a/b".into()), &owner).unwrap();
    assert_eq!(image.apply(Change::RemoveProperty("a/b".into()), &owner).unwrap_err().kind(), Kind::Conflict);
    for n in 0..PROPERTY_LIMIT {
        image.apply(Change::Add(Attribute::Property(format!("k{n}"), Some(String::new()))), &owner).unwrap();
    }
    assert_eq!(image.apply(Change::Add(property("1")), &owner).unwrap_err().kind(), Kind::TooLarge);
}

#[test]
fn formats_are_fixed_once_there_are_bytes() {
    let owner = actor("p1", "member");
    let mut image = image(&owner);
    let format = Change::Replace(Attribute::DiskFormat(Some(DiskFormat::Raw)));
    image.apply(format.clone(), &owner).unwrap();
    image.become_status(Status::Saving).unwrap();
    image.become_status(Status::Active).unwrap();
    let refused = image.apply(format, &owner).unwrap_err();
    assert_eq!(refused.message(), "Attribute disk_format can be only replaced for a queued image.");
}

#[test]
fn minima_have_bounds() {
    let owner = actor("p1", "member");
    let mut image = image(&owner);
    for value in [-1, i64::from(i32::MAX) + 1] {
        assert_eq!(
            image.apply(Change::Replace(Attribute::MinRam(value)), &owner).unwrap_err().kind(),
            Kind::Invalid
        );
    }
    image.apply(Change::Replace(Attribute::MinRam(512)), &owner).unwrap();
    assert_eq!(image.min_ram, 512);
}

#[test]
fn states_lead_only_where_the_diagram_says() {
    let mut image = image(&actor("p1", "member"));
    assert!(image.become_status(Status::Deactivated).is_err());
    image.become_status(Status::Saving).unwrap();
    let refused = image.become_status(Status::Saving).unwrap_err();
    assert_eq!(refused.message(), "Image status transition from saving to saving is not allowed");
    image.become_status(Status::Queued).unwrap();
    assert!(Status::ALL.iter().all(|next| !Status::Deleted.may_become(*next)));
}

#[test]
fn words_read_back() {
    for status in Status::ALL {
        assert_eq!(status.as_str().parse::<Status>().unwrap(), *status);
    }
    assert!("ACTIVE".parse::<Status>().is_err());
}
