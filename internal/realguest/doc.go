// Package realguest makes real Linux guests from Debian's packages and starts
// them, to compare what an examination of a disk predicts with what happens. It
// is for tests.
//
// A [Guest] is an entry of a table: the root it is made from, the disk it is put
// on, what is done to it, and what a server made from it does. [Build] puts it on
// a RAW disk, [Boot] starts that disk in QEMU, without KVM, with a virtio disk and
// a virtio network card and whatever firmware the guest wants, and reads the serial
// console: a guest boots when it asks for a login, and has a network when it got an
// address by DHCP. The disk stays as it was.
//
// Everything is done by Debian's own tools: mmdebstrap installs the packages from
// the sources that apt is set up with, mke2fs, mkfs.xfs and mtools make the file
// systems from directories, lvm2 the volume groups, grub-mkimage the boot loader.
// That takes root, for chroot and for the loop devices of lvm2. Roots are kept in
// the user's cache directory, or in the one that FASTIMAGE_GUEST_CACHE names.
//
// Tests that need guests run only where FASTIMAGE_GUESTS=1 asks for them: a root
// takes about a minute to make, and a guest half a minute to start.
package realguest
