// Package vdi reads VirtualBox's VDI disk images in place, as the disk they
// hold: dynamic and static ones of version 1.1, which all VirtualBox since 2007
// and qemu-img write. Differencing disks (and so snapshots) are refused, and
// nothing is ever written.
//
//	+-----------------------------+ 0
//	| banner                      |
//	+-----------------------------+ 0x40
//	| signature, version, sizes,  |
//	| where the map and the data  |  All numbers are little endian.
//	| are                         |
//	+-----------------------------+ mapAt
//	| map: for each block of the  |  FFFFFFFF never written, zeros
//	| disk its number in the file |  FFFFFFFE trimmed, zeros
//	+-----------------------------+ dataAt
//	| blocks of 1 MiB, in the     |
//	| order they were written     |
//	+-----------------------------+
//
// # Size
//
// The header has the size in bytes; one that is no multiple of 512 is rounded
// up, as qemu-img convert -O raw does.
//
// # Trust
//
// The file may be hostile. The header and every entry of the map are checked by
// NewReader; blocks outside the file or on top of each other are a *FormatError.
// The map is the only thing held in memory, is not read before the file is known
// to hold it, and is bounded by WithMaxTable (64 MiB serve a disk of 16 TiB).
//
// # Concurrency
//
// A Reader does not change once it is open: all methods may be used by any
// number of goroutines.
package vdi
