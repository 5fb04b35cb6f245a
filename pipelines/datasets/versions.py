"""Datasets under one folder or fsspec URL: finding versions, pinning, rolling back, appearing and disappearing.

    <datasets>/<name>/<name>-<night>-<digest>/    one version: manifest.json, README.md, files
    <datasets>/<name>/pins/<pin>.json             one pin (see `pins`)

Invariants
- A folder with a manifest is a version, anything else is none. On a local disk a version appears by one rename; on an
  object store its files are uploaded under its unique name first and the manifest last, so that one put is the commit.
  A publisher that is killed leaves nothing that is listed; what it left is removed once it is a day old.
- A version disappears the other way round (one rename, or its manifest first) and never while a pin points at it.
- Versions are ordered by their nights, those of one night by when they were made: one that is made again for an older
  night is newer than the others of that night and never becomes `latest`.
- `latest` and pins are resolved here, to real folders: a link would make `datasets` serve another version's rows.
- A version is removed only while every pin can be read: a damaged one could name any.

Only pyarrow, fsspec and the standard library are imported: the light client reads with this code.
"""

import logging
import os
import secrets
import shutil
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipelines.datasets.pins import LATEST, DamagedPinError, Pin, Target, check_pin_name, damaged_pin, parse_pin
from pipelines.datasets.published import (
    MANIFEST,
    NAME,
    PublishedVersion,
    parse_manifest,
    read_version,
)
from pipelines.errors import DatasetWarning, ReasonmillError, WorkspaceError
from pipelines.redaction import redacted
from pipelines.rows import near_names

__all__ = [
    "LATEST", "MANIFEST", "DatasetStore", "Listing", "PinListing", "PublishedVersion", "list_versions", "read_version",
    "resolve", "split_spec",
]  # fmt: skip

logger = logging.getLogger(__name__)

PINS, LEASES = "pins", ".leases"
BUILDING, REMOVING = ".building-", ".removing-"
STALE_AFTER_S = 24 * 3600.0
PIN_LEASE_S = 60.0  # pinning takes a moment: an older lease of another machine was left by one that died
VERSIONS_SHOWN = 5


@dataclass(frozen=True)
class Listing:
    """The versions of one dataset, oldest night first; `damaged`: folder name -> why its manifest cannot be used.

    `misplaced`: folder name -> whose version it is: one that was copied or renamed is none of that name.
    """

    versions: tuple[PublishedVersion, ...]
    damaged: Mapping[str, str]
    misplaced: Mapping[str, str]


@dataclass(frozen=True)
class PinListing:
    """The pins of one dataset, a rollback of `latest` among them; `damaged`: pin -> why its file cannot be used."""

    usable: Mapping[str, Pin]
    damaged: Mapping[str, str]


class MisplacedError(WorkspaceError):
    """A version lies in a folder that has not its name."""


class DatasetStore:
    """The datasets under one folder or fsspec URL."""

    def __init__(self, url: str | Path):
        text = os.path.expanduser(str(url))
        try:
            self.filesystem, root = fsspec.core.url_to_fs(text)
        except (ImportError, ValueError, OSError) as error:
            raise WorkspaceError(
                f"The datasets at {redacted(text)} cannot be reached: {redacted(error)}. A local folder needs nothing"
                " further; `s3://` needs the package s3fs."
            ) from None
        self.is_local = isinstance(self.filesystem, LocalFileSystem)
        self.root = os.path.abspath(root) if self.is_local else root.rstrip("/")
        self.shown = self.root if self.is_local else redacted(text).rstrip("/")

    # finding --------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Names of the datasets, sorted: folders with at least one version, usable or damaged."""
        names = [name for name in self._ls(self.root) if NAME.fullmatch(name)]
        listings = {name: self.listing(name) for name in sorted(names)}
        return [name for name, one in listings.items() if one.versions or one.damaged or one.misplaced]

    def has(self, name: str) -> bool:
        """Whether there is a dataset of that name: a folder with at least one version, usable or not."""
        found = self.listing(name)
        return bool(found.versions or found.damaged or found.misplaced)

    def listing(self, name: str) -> Listing:
        """All versions of a dataset, those with a damaged manifest apart; none where there is no such dataset."""
        folder = self.folder(name)
        starts = [one for one in self._ls(folder) if one.startswith(f"{name}-") and NAME.fullmatch(one)]
        versions, damaged, misplaced = [], {}, {}
        for one, data in self._manifests(folder, starts).items():
            try:
                versions.append(self._version(folder, one, data))
            except MisplacedError as error:
                misplaced[one] = str(error)
            except WorkspaceError as error:
                damaged[one] = str(error)
        return Listing(tuple(sorted(versions, key=_age)), damaged, misplaced)

    def resolve(self, name: str, version: str = LATEST) -> PublishedVersion:
        """The version of that name, of that pin, or the one whose name or digest starts so; by default the newest.

        The newest is that of the last night, of several the one made last. WorkspaceError with the versions that are
        there when there is none, or when several start so.
        """
        if version == LATEST:
            return self._latest(name)
        exact = self.find(name, version)
        if exact is not None:
            return exact
        pin = self._read_pin(name, version)
        if pin is not None:
            return self._pinned(name, pin)
        found = self.listing(name)
        starts = [one for one in found.versions if version and _is_called(one, version)]
        if len(starts) == 1:
            return starts[0]
        problem = "is not a version" if not starts else f"fits {len(starts)} versions"
        raise self._unknown(name, f"{version!r} {problem} of the dataset {name!r}", found.versions, version)

    def _latest(self, name: str) -> PublishedVersion:
        versions = self._all_told(name)
        rollback = self._read_pin(name, LATEST)
        if rollback is None or _is_over(rollback, versions):
            return versions[-1]
        return self._pinned(name, rollback)

    def _all_told(self, name: str) -> tuple[PublishedVersion, ...]:
        """Every version, oldest first; WorkspaceError where there is none, or where a damaged one may be the newest."""
        found = self.listing(name)
        if found.damaged:
            folder, reason = next(iter(found.damaged.items()))
            raise WorkspaceError(
                f"Which version of {name} is the newest cannot be told, because one is damaged: {reason} Until then ask"
                f" for a version by its name, or remove that one: `reasonmill datasets delete {name}@{folder}`."
            )
        for reason in found.misplaced.values():
            warnings.warn(reason, DatasetWarning, stacklevel=3)
        if not found.versions:
            raise self._unknown(name, f"There is no version of the dataset {name!r}", (), "")
        return found.versions

    def find(self, name: str, version: str) -> PublishedVersion | None:
        """The version of exactly this name; None where there is none."""
        if not NAME.fullmatch(version) or not version.startswith(f"{name}-"):
            return None
        folder = self.folder(name)
        data = self._manifests(folder, [version])
        return self._version(folder, version, data[version]) if data else None

    def _pinned(self, name: str, pin: Pin) -> PublishedVersion:
        version = self.find(name, pin.version)
        if version is None:
            there = self.listing(name).versions
            raise self._unknown(name, f"The pin {pin.name!r} names {pin.version}, which is gone from {name}", there, "")
        return version

    def _unknown(self, name: str, what: str, there: Iterable[PublishedVersion], asked: str) -> WorkspaceError:
        versions = [one.version for one in there]
        if not versions and not self.has(name):
            return WorkspaceError(
                f"There is no dataset {name!r} in {self.shown}; {near_names(name, self.names())} A night publishes"
                " one, or `reasonmill demo`."
            )
        if not versions:
            listed = "none; publish one first."
        else:
            names = [*versions, *self.pins(name)]
            is_near = bool(asked) and "did you mean" in near_names(asked, names)
            listed = f"{', '.join(versions[-VERSIONS_SHOWN:])}{'; ' + near_names(asked, names) if is_near else '.'}"
        return WorkspaceError(f"{what} in {self.shown}. Versions there: {listed}")

    def folder(self, name: str) -> str:
        """The folder of a dataset, as its filesystem names it."""
        if not NAME.fullmatch(name):
            raise WorkspaceError(
                f"{redacted(repr(name))} cannot name a dataset; use letters, digits, '.', '_', '-' as in reasoning."
            )
        return f"{self.root}/{name}"

    def _version(self, folder: str, name: str, data: bytes) -> PublishedVersion:
        path = f"{folder}/{name}"
        shown: Path | str = (
            Path(path).resolve() if self.is_local else f"{self.shown}/{folder.rpartition('/')[2]}/{name}"
        )
        manifest = parse_manifest(data, f"{shown}/{MANIFEST}")
        dataset = folder.rpartition("/")[2]
        if (manifest["version"], manifest.get("name")) != (name, dataset):
            raise MisplacedError(
                f"The folder {shown} holds the version {manifest['version']} of {manifest.get('name')}: it was renamed"
                " or copied, so it is no version here. Give it that name again, or remove it."
            )
        return PublishedVersion(shown, name, manifest)

    def _manifests(self, folder: str, names: list[str]) -> dict[str, bytes]:
        """Bytes of the manifests that are there."""
        paths = {f"{folder}/{name}/{MANIFEST}": name for name in names}
        if not paths:
            return {}
        with self._reached():
            found = self.filesystem.cat(list(paths), on_error="return") if len(paths) > 1 else self._cat(*paths)
        for path, data in found.items():
            if isinstance(data, OSError) and not isinstance(data, FileNotFoundError | NotADirectoryError):
                raise WorkspaceError(f"{redacted(path)} cannot be read: {redacted(data.strerror or data)}.")
        return {paths[path]: data for path, data in found.items() if isinstance(data, bytes)}

    def _cat(self, path: str) -> dict[str, bytes]:
        try:
            return {path: self.filesystem.cat_file(path)}
        except (FileNotFoundError, NotADirectoryError):
            return {}

    def read_file(self, version: PublishedVersion, path: str) -> bytes | None:
        """The bytes of a small file of a version; None where it is not there."""
        with self._reached():
            return self._cat(self.file_path(version, path)).get(self.file_path(version, path))

    def file_path(self, version: PublishedVersion, path: str) -> str:
        """A version's file as this store's filesystem names it."""
        return f"{self.folder(str(version.manifest['name']))}/{version.version}/{path}"

    # pins -----------------------------------------------------------------------------------------

    def pins(self, name: str) -> dict[str, Pin]:
        """Every named pin that can be read; a rollback of `latest` is not among them (see `pins_in_effect`)."""
        return {pin: found for pin, found in self.pin_listing(name).usable.items() if pin != LATEST}

    def pins_in_effect(self, name: str) -> dict[str, str]:
        """Pin -> version, with `latest` where it was rolled back and nothing newer was published since."""
        found = self.pin_listing(name).usable
        if LATEST in found and _is_over(found[LATEST], self.listing(name).versions):
            found = {pin: one for pin, one in found.items() if pin != LATEST}
        return {pin: one.version for pin, one in found.items()}

    def pin_listing(self, name: str) -> PinListing:
        """All pins of a dataset, by name, those with a damaged file apart."""
        files = self._ls(f"{self.folder(name)}/{PINS}")
        names = [one.removesuffix(".json") for one in files if one.endswith(".json")]
        usable, damaged = {}, {}
        for pin in sorted(names):
            try:
                found = self._read_pin(name, pin)
            except DamagedPinError as error:
                damaged[pin] = str(error)
            else:
                usable |= {pin: found} if found else {}
        return PinListing(usable, damaged)

    def pin(self, name: str, version: str, pin: str) -> Pin:
        """Points a pin at a version, whatever it pointed at before; a damaged one begins anew."""
        check_pin_name(pin, name)
        with self._changing(name):
            target = Target(self.resolve(name, version).version, _now(), "pin")
            return self._move_pin(name, pin, target)

    def unpin(self, name: str, pin: str) -> Pin | None:
        """Removes a pin and returns what it was, None where it was damaged; for `latest`, ends its rollback."""
        with self._changing(name):
            found = self.pin_listing(name)
            names = [*found.usable, *found.damaged]
            if pin not in names:
                what = "`latest` is not rolled back" if pin == LATEST else f"{name} has no pin {pin!r}"
                raise WorkspaceError(f"{what}; {near_names(pin, names) if names else 'it has no pins.'}")
            with self._reached():
                self.filesystem.rm_file(self._pin_path(name, pin))
            return found.usable.get(pin)

    def rollback(self, name: str, to: str | None = None, pin: str = LATEST) -> Pin:
        """Points `latest`, or a pin, at an earlier version: at `to`, or at the one before the current target.

        `latest` stays there until a newer version is published or `unpin(name, "latest")` is called.
        """
        with self._changing(name):
            if pin != LATEST:
                return self._roll_pin_back(name, to, pin)
            versions = self._all_told(name)
            target = self._before_latest(name, versions) if to is None else self.resolve(name, to)
            night, newest_at, _ = _age(versions[-1])
            return self._move_pin(name, LATEST, Target(target.version, _now(), "rollback", newest_at, night))

    def _before_latest(self, name: str, versions: Sequence[PublishedVersion]) -> PublishedVersion:
        current = self._latest(name)
        earlier = [one for one in versions if _age(one) < _age(current)]
        if not earlier:
            raise WorkspaceError(f"{current.version} is the oldest version of {name}: there is none to go back to.")
        return earlier[-1]

    def _roll_pin_back(self, name: str, to: str | None, pin: str) -> Pin:
        found = self._read_pin(name, pin)
        if found is None:
            pins = self.pins(name)
            raise WorkspaceError(f"{name} has no pin {pin!r}; {near_names(pin, pins) if pins else 'it has no pins.'}")
        version = to or found.version_before()
        if version is None:
            raise WorkspaceError(f"The pin {pin!r} has had no target before {found.version}.")
        return self._move_pin(name, pin, Target(self.resolve(name, version).version, _now(), "rollback"))

    def _read_pin(self, name: str, pin: str) -> Pin | None:
        """One pin by its own file; None where there is none of that name, DamagedPinError where it cannot be used."""
        if not NAME.fullmatch(pin):
            return None
        path = self._pin_path(name, pin)
        with self._reached():
            try:
                data = self._cat(path)
            except (IsADirectoryError, PermissionError) as error:
                raise damaged_pin(pin, name, redacted(path), error.strerror or "it cannot be read") from error
        return parse_pin(data[path], pin, name, redacted(path)) if data else None

    def _move_pin(self, name: str, pin: str, target: Target) -> Pin:
        """Writes one more target of a pin; the first one where it is new or its file is damaged."""
        before = None
        with suppress(DamagedPinError):
            before = self._read_pin(name, pin)
        return self._write_pin(name, before.moved(target) if before else Pin(pin, (target,)))

    def _pin_path(self, name: str, pin: str) -> str:
        return f"{self.folder(name)}/{PINS}/{pin}.json"

    def _write_pin(self, name: str, pin: Pin) -> Pin:
        path = self._pin_path(name, pin.name)
        with self._reached():
            if not self.is_local:
                self.filesystem.pipe_file(path, pin.to_json())
                return pin
            os.makedirs(os.path.dirname(path), exist_ok=True)
            part = f"{path}.{secrets.token_hex(4)}.part"
            try:
                write_bytes(Path(part), pin.to_json())
                os.replace(part, path)
            finally:
                Path(part).unlink(missing_ok=True)
        return pin

    # appearing and disappearing -------------------------------------------------------------------

    def add(self, building: Path, name: str, version: str) -> PublishedVersion:
        """Makes the complete folder `building` a version; where that content is published already, that one stands."""
        there = self.find(name, version)
        if there is None:
            (self._rename if self.is_local else self._upload)(building, f"{self.folder(name)}/{version}")
            there = self.find(name, version)
        if there is None:
            raise WorkspaceError(f"{version} was published to {self.shown} but is not there; was it removed meanwhile?")
        return there

    def put_right(self, building: Path, name: str, version: str, paths: Sequence[str]) -> None:
        """Puts these files of `building` in the place of a version's own, in that order, each by one rename or put."""
        folder = f"{self.folder(name)}/{version}"
        with self._changing(name), self._reached():
            if not self._manifests(self.folder(name), [version]):
                raise WorkspaceError(f"{version} was removed from {self.shown} while it was put right; publish again.")
            for path in paths:
                if self.is_local:
                    os.makedirs(os.path.dirname(f"{folder}/{path}"), exist_ok=True)
                    os.replace(building / path, f"{folder}/{path}")
                else:
                    self.filesystem.put_file(str(building / path), f"{folder}/{path}")

    def _rename(self, building: Path, target: str) -> None:
        try:
            os.rename(building, target)
        except OSError as error:
            if not os.path.isfile(f"{target}/{MANIFEST}"):  # else another process published the same content
                reason = error.strerror or error
                raise WorkspaceError(
                    f"{target} could not appear: {reason}. Remove the folder of that name, which is no version."
                ) from error

    def _upload(self, building: Path, target: str) -> None:
        files = sorted(path for path in building.rglob("*") if path.is_file() and path != building / MANIFEST)
        sources = [*map(str, files)]
        targets = [f"{target}/{path.relative_to(building).as_posix()}" for path in files]
        with self._reached():
            self.filesystem.put(sources, targets)
            self.filesystem.pipe_file(f"{target}/{MANIFEST}", (building / MANIFEST).read_bytes())

    def delete(self, name: str, version: str) -> str:
        """Removes a version, also a damaged one, by its whole name or its start.

        Refused while a pin points at it, or is damaged: it might point at it.
        """
        with self._changing(name):
            found, pins = self.listing(name), self.pin_listing(name)
            if version in found.damaged or version in found.misplaced:
                chosen = version
            elif version in (LATEST, *pins.usable, *pins.damaged):
                raise WorkspaceError(f"{version!r} is a name that moves; delete a version by its own name.")
            else:
                chosen = self.resolve(name, version).version
            pinned = {target: pin for pin, target in self.pins_in_effect(name).items()}
            if chosen in pinned:
                pin = pinned[chosen]
                undo = f"rollback {name} --undo" if pin == LATEST else f"unpin {name} {pin}"
                raise WorkspaceError(
                    f"{chosen} is not deleted: the pin {pin!r} points at it. `reasonmill datasets {undo}` frees it."
                )
            for pin, reason in pins.damaged.items():
                raise WorkspaceError(f"{chosen} is not deleted: the pin {pin!r} might point at it. {reason}")
            self._remove(name, chosen)
            return chosen

    def remove_old(
        self, name: str, keep: int | None, just_made: str, stale_after_s: float = STALE_AFTER_S
    ) -> list[str]:
        """Removes all but the `keep` newest versions and the pinned ones, and old leftovers; returns the names.

        keep: None removes no version. What cannot be told (a damaged pin, another process that pins) removes none and
        is logged: the next call does it.
        """
        self._remove_leftovers(name, stale_after_s)
        if keep is None:
            return []
        try:
            with self._changing(name):
                versions = self.listing(name).versions
                kept = {just_made, *self.pins_in_effect(name).values()}
                old = [one.version for one in versions[: max(len(versions) - keep, 0)] if one.version not in kept]
                for reason in self.pin_listing(name).damaged.values() if old else ():
                    raise WorkspaceError(reason)
                for one in old:
                    self._remove(name, one)
                return old
        except ReasonmillError as error:
            logger.warning("Versions of %s beyond the newest %d were not removed: %s", name, keep, error)
            return []

    def _remove(self, name: str, version: str) -> None:
        path = f"{self.folder(name)}/{version}"
        if self.is_local:
            hidden = f"{self.folder(name)}/{REMOVING}{version}"
            with suppress(FileNotFoundError):  # another process removes it at the same time
                os.rename(path, hidden)
            shutil.rmtree(hidden, ignore_errors=True)
            return
        with self._reached(), suppress(FileNotFoundError):
            self.filesystem.rm_file(f"{path}/{MANIFEST}")
            self.filesystem.invalidate_cache()
            self.filesystem.rm(path, recursive=True)

    def _remove_leftovers(self, name: str, stale_after_s: float) -> None:
        """What killed publishers left: hidden folders on a local disk, folders without a manifest elsewhere."""
        if self.is_local:
            remove_stale(Path(self.folder(name)), (BUILDING, REMOVING), stale_after_s)
            return
        folder = self.folder(name)
        starts = [one for one in self._ls(folder) if one.startswith(f"{name}-") and NAME.fullmatch(one)]
        for one in set(starts) - self._manifests(folder, starts).keys():
            with suppress(OSError, NotImplementedError):
                files = self.filesystem.find(f"{folder}/{one}")
                newest = max((self.filesystem.modified(file).timestamp() for file in files), default=0.0)
                if files and time.time() - newest > stale_after_s:
                    self.filesystem.rm(f"{folder}/{one}", recursive=True)

    # the filesystem -------------------------------------------------------------------------------

    @contextmanager
    def _changing(self, name: str) -> Iterator[None]:
        """One process at a time pins and removes versions of a dataset."""
        from pipelines.leases import hold_lease

        path = f"{self.root}/{LEASES}/{name}.json"
        with hold_lease(self.filesystem, path, f"the pins of {name}", PIN_LEASE_S):
            yield

    def _ls(self, folder: str) -> list[str]:
        with self._reached():
            self.filesystem.invalidate_cache()
            try:
                found = self.filesystem.ls(folder, detail=False)
            except (FileNotFoundError, NotADirectoryError):
                return []
        return [path.rstrip("/").rpartition("/")[2] for path in found]

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Failures of the filesystem as an explained error that holds no credentials."""
        try:
            yield
        except store_failures() as error:
            reason = redacted(getattr(error, "strerror", None) or error)
            raise WorkspaceError(f"The datasets at {self.shown} cannot be read or written: {reason}.") from None


def store_failures() -> tuple[type[Exception], ...]:
    """What a filesystem raises: OSError, and what the clients that are loaded raise beside it (no credentials)."""
    others = (("botocore.exceptions", "BotoCoreError"), ("aiohttp", "ClientError"))
    return OSError, *(getattr(sys.modules[module], name) for module, name in others if module in sys.modules)


# folders ----------------------------------------------------------------------------------------


def list_versions(datasets: Path | str, name: str) -> list[PublishedVersion]:
    """All versions of a dataset, oldest first; folders without a manifest are none, a damaged one is an error."""
    found = DatasetStore(datasets).listing(name)
    for reason in found.damaged.values():
        raise WorkspaceError(reason)
    return list(found.versions)


def resolve(datasets: Path | str, name: str, version: str = LATEST) -> PublishedVersion:
    """`DatasetStore.resolve` of a folder or URL."""
    return DatasetStore(datasets).resolve(name, version)


def split_spec(text: str) -> tuple[str, str]:
    """`name@version` in its parts; a name alone means its latest version."""
    name, at, version = text.partition("@")
    if not name or (at and not version):
        raise WorkspaceError(f"{redacted(text)!r} names no version; write NAME, NAME@VERSION or NAME@PIN.")
    return name, version or LATEST


def write_bytes(path: Path, data: bytes) -> None:
    """The bytes on disk, flushed."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def remove_stale(folder: Path, starts: Iterable[str], stale_after_s: float = STALE_AFTER_S) -> None:
    """Removes hidden folders that start so and were not touched for so long: their process was killed."""
    for left in [path for start in starts for path in folder.glob(f"{start}*")]:
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > stale_after_s:
                shutil.rmtree(left, ignore_errors=True)


def _is_called(one: PublishedVersion, text: str) -> bool:
    return one.version.startswith(text) or str(one.manifest["content_sha256"]).startswith(text)


def _age(one: PublishedVersion) -> tuple[str, str, str]:
    """What versions are ordered by; one whose manifest does not say its night comes before all others."""
    return str(one.manifest.get("night", "")), str(one.manifest["created_at"]), one.version


def _is_over(rollback: Pin, versions: Iterable[PublishedVersion]) -> bool:
    """Whether a version is newer than the one that was the newest when `latest` was rolled back."""
    target = rollback.targets[-1]
    if not target.newest_night:  # of before versions were ordered by night
        return any(str(one.manifest["created_at"]) > target.newest_at for one in versions)
    return any(_age(one)[:2] > (target.newest_night, target.newest_at) for one in versions)


def _now() -> str:
    return datetime.now(UTC).isoformat()
