use super::*;
use crate::core::actor::{Actor, Roles};
use crate::core::clock::from_micros;
use crate::core::ids::{DomainId, RequestId, UserId};
use crate::core::image::query::{
    Comparison, Condition, Direction, ImageQuery, NumberField, Scope, SortKey, TextField, Viewer,
};
use crate::core::image::{Attribute, Facts, Member, MemberStatus, Status, Visibility};
use crate::store::image_list::list;
use crate::store::{Store, image_members};

fn actor(project: &str) -> Actor {
    Actor {
        user_id: UserId::from("u"),
        user_name: "u".into(),
        user_domain: DomainId::from("default"),
        project_id: Some(ProjectId::from(project)),
        roles: Roles::from_names(["member"]),
        request_id: RequestId::from("req-1"),
    }
}

fn viewer(project: &str) -> Viewer {
    Viewer::from(&actor(project))
}

async fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    (folder, store)
}

async fn with<T: Send + 'static>(
    store: &Store,
    job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
) -> T {
    store.write(job).await.unwrap()
}

fn made(name: &str, project: &str, at: i64) -> Image {
    let attributes = [
        Attribute::Name(Some(name.into())),
        Attribute::Property("os_distro".into(), Some(name.to_uppercase())),
        Attribute::Tags(["blue".to_owned(), name.to_owned()].into()),
    ];
    Image::new(ImageId::random(), &attributes, &actor(project), from_micros(at)).unwrap()
}

fn names(images: &[Image]) -> Vec<&str> {
    images.iter().filter_map(|image| image.name.as_deref()).collect()
}

#[tokio::test]
async fn an_image_comes_back_as_it_went_in() {
    let (_folder, store) = store().await;
    let mut image = made("a", "p1", 5);
    let copy = image.clone();
    assert!(with(&store, move |c| insert(c, &copy)).await);
    let id = image.id;
    assert_eq!(with(&store, move |c| get(c, id)).await.unwrap(), image);
    image.status = Status::Saving;
    image.take_facts(Facts {
        size: 7,
        virtual_size: Some(9),
        md5: "m".into(),
        sha512: "s".into(),
        file_format: "raw".into(),
    });
    image.become_status(Status::Active).unwrap();
    image.updated_at = from_micros(6);
    let copy = image.clone();
    assert!(with(&store, move |c| update(c, &copy)).await);
    assert_eq!(with(&store, move |c| get(c, id)).await.unwrap(), image);
}

#[tokio::test]
async fn the_id_of_a_deleted_image_stays_taken() {
    let (_folder, store) = store().await;
    let image = made("a", "p1", 5);
    let id = image.id;
    with(&store, move |c| {
        assert!(insert(c, &image)?);
        assert!(delete(c, id, from_micros(6))?);
        assert!(!delete(c, id, from_micros(7))?);
        assert!(get(c, id)?.is_none());
        assert!(!update(c, &image)?);
        assert!(!insert(c, &image)?);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn lists_show_what_the_viewer_may_see() {
    let (_folder, store) = store().await;
    with(&store, |c| {
        for (name, visibility) in [
            ("private", Visibility::Private),
            ("shared", Visibility::Shared),
            ("community", Visibility::Community),
            ("public", Visibility::Public),
        ] {
            let mut image = made(name, "p1", 1);
            image.visibility = visibility;
            insert(c, &image)?;
            if visibility == Visibility::Shared {
                let (at, status) = (from_micros(1), MemberStatus::Pending);
                let project_id = ProjectId::from("p2");
                image_members::insert(
                    c,
                    &Member { image_id: image.id, project_id, status, created_at: at, updated_at: at },
                )?;
            }
        }
        let by_name =
            || ImageQuery { sort: vec![(SortKey::Name, Direction::Ascending)], ..ImageQuery::default() };
        let own = list(c, &viewer("p1"), &by_name())?;
        assert_eq!(names(&own), ["community", "private", "public", "shared"]);
        assert_eq!(names(&list(c, &viewer("p2"), &by_name())?), ["public"]);
        let pending = ImageQuery { member_status: Some(MemberStatus::Pending), ..by_name() };
        assert_eq!(names(&list(c, &viewer("p2"), &pending)?), ["public", "shared"]);
        let any = ImageQuery { member_status: None, scope: Scope::Everything, ..by_name() };
        assert_eq!(names(&list(c, &viewer("p2"), &any)?), ["community", "public", "shared"]);
        let community = ImageQuery { scope: Scope::Only(Visibility::Community), ..by_name() };
        assert_eq!(names(&list(c, &viewer("p3"), &community)?), ["community"]);
        let admin = Viewer { project: Some(ProjectId::from("p9")), admin: true };
        assert_eq!(names(&list(c, &admin, &by_name())?), ["private", "public", "shared"]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn conditions_narrow_a_list() {
    let (_folder, store) = store().await;
    with(&store, |c| {
        for (index, name) in ["a", "b", "c"].into_iter().enumerate() {
            let mut image = made(name, "p1", 1_000_000 * i64::try_from(index).unwrap());
            image.size = Some(10 * index as u64);
            insert(c, &image)?;
        }
        let found = |condition: Condition| {
            let query = ImageQuery {
                conditions: vec![condition],
                sort: vec![(SortKey::Name, Direction::Ascending)],
                ..ImageQuery::default()
            };
            Ok::<_, StoreError>(names(&list(c, &viewer("p1"), &query)?).join(""))
        };
        assert_eq!(found(Condition::OneOf(TextField::Name, vec!["a".into(), "c".into()]))?, "ac");
        assert_eq!(found(Condition::OneOf(TextField::Name, Vec::new()))?, "");
        assert_eq!(found(Condition::Number(NumberField::Size, Comparison::AT_LEAST, 10))?, "bc");
        assert_eq!(found(Condition::Number(NumberField::CreatedAt, Comparison::EQUAL, 1))?, "b");
        assert_eq!(found(Condition::Property("os_distro".into(), "B".into()))?, "b");
        assert_eq!(found(Condition::Tag("blue".into()))?, "abc");
        assert_eq!(found(Condition::Tag("c".into()))?, "c");
        assert_eq!(found(Condition::Protected(true))?, "");
        assert_eq!(found(Condition::Never)?, "");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn pages_go_through_the_whole_list_in_any_order() {
    let (_folder, store) = store().await;
    with(&store, |c| {
        for index in 0..7 {
            // Three images have the same name and two none at all.
            let mut image = made(if index < 3 { "same" } else { ["d", "e", "", ""][index - 3] }, "p1", 4);
            if index > 4 {
                image.name = None;
            }
            insert(c, &image)?;
        }
        for direction in [Direction::Ascending, Direction::Descending] {
            let all =
                ImageQuery { sort: vec![(SortKey::Name, direction)], limit: 100, ..ImageQuery::default() };
            let whole = list(c, &viewer("p1"), &all)?;
            assert_eq!(whole.len(), 7);
            let mut paged = Vec::new();
            loop {
                let query = ImageQuery { after: paged.last().cloned(), limit: 2, ..all.clone() };
                let page = list(c, &viewer("p1"), &query)?;
                if page.is_empty() {
                    break;
                }
                paged.extend(page);
            }
            assert_eq!(paged, whole);
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn interrupted_uploads_are_taken_back_unless_a_task_owns_them() {
    let (_folder, store) = store().await;
    with(&store, |c| {
        let mut ids = Vec::new();
        for name in ["a", "b", "c"] {
            let mut image = made(name, "p1", 1);
            image.status = Status::Saving;
            insert(c, &image)?;
            ids.push(image.id);
        }
        c.execute(
            "INSERT INTO task (workflow, subject, status, state, request_id, created_at, updated_at) \
             VALUES ('w', 's', 'running', json_object('image', ?1), 'r', 0, 0)",
            [ids[1].to_string()],
        )?;
        c.execute("UPDATE image SET status = 'uploading', file_format = 'raw' WHERE id = ?1", [ids[2]])?;
        assert!(reset_interrupted(c, Some(ids[1]), from_micros(2))?.is_empty());
        assert_eq!(reset_interrupted(c, None, from_micros(2))?, [ids[0]]);
        assert_eq!(get(c, ids[0])?.map(|image| image.status), Some(Status::Queued));
        assert_eq!(get(c, ids[1])?.map(|image| image.status), Some(Status::Saving));
        assert!(!wants_file(c, ids[0])? && wants_file(c, ids[1])? && wants_file(c, ids[2])?);
        assert!(is_base(c, ids[1])? && !is_base(c, ids[0])?);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn usage_counts_what_lies_here() {
    let (_folder, store) = store().await;
    with(&store, |c| {
        for (status, size) in [(Status::Active, 5), (Status::Uploading, 3), (Status::Saving, 0)] {
            let mut image = made("a", "p1", 1);
            image.status = status;
            image.size = Some(size);
            image.file_format = Some("raw".into());
            insert(c, &image)?;
        }
        let expected = Usage { bytes: 8, staged_bytes: 3, count: 3, uploading: 2 };
        assert_eq!(usage(c, &ProjectId::from("p1"))?, expected);
        assert_eq!(usage(c, &ProjectId::from("p2"))?, Usage::default());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn servers_hold_on_to_what_they_stand_on() {
    let (_folder, store) = store().await;
    with(&store, |c| {
        let image = made("a", "p1", 1);
        let id = image.id;
        insert(c, &image)?;
        delete(c, id, from_micros(2))?;
        assert!(!wants_file(c, id)? && !is_base(c, id)?);
        c.execute(
            "INSERT INTO server (id, project_id, user_id, name, hostname, vm_state, task_state, image_id, flavor_id, \
                 flavor_name, vcpus, ram_mib, disk_gib, ephemeral_gib, swap_mib, rxtx_factor, reservation_id, \
                 created_at, updated_at) \
             VALUES ('s', 'p', 'u', 'n', 'h', 'building', 'spawning', ?1, '1', 'f', 1, 1, 1, 0, 0, 1.0, 'r', 0, 0)",
            [id],
        )?;
        assert!(wants_file(c, id)? && is_base(c, id)?, "its disks may not be made yet");
        c.execute("UPDATE server SET vm_state = 'active', task_state = NULL", [])?;
        assert!(!wants_file(c, id)? && is_base(c, id)?, "its disks stand on the base");
        c.execute("UPDATE server SET vm_state = 'deleted', deleted_at = 3", [])?;
        assert!(!wants_file(c, id)? && !is_base(c, id)?);
        Ok(())
    })
    .await;
}
