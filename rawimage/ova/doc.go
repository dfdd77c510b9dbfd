// Package ova reads OVA files, and other tar archives with disks in them, in
// place: it lists the members, chooses the disk, and verifies the manifest.
//
//	+----------------+
//	| vm.ovf         |  describes the machine
//	| vm.mf          |  manifest: a digest of each other member
//	| vm-disk1.vmdk  |  a disk
//	| ...            |
//	+----------------+
//
// Nothing is unpacked: a [Member] says where its bytes are in the archive.
// Members that macOS adds ("._vm.ovf") are ignored. Disks that are stored in
// chunks or as sparse members are listed, and refused by name when chosen.
//
// # Security
//
// Archives are hostile input. At most 4096 members and 1 MiB of manifest are
// read, and members outside of the archive are a *[FormatError].
package ova
