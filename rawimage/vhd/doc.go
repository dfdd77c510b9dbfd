// Package vhd reads Microsoft's VHD disk images (Virtual PC, Hyper-V, Azure) in
// place, as the disk they hold: fixed and dynamic ones. Differencing disks are
// refused, and nothing is ever written.
//
//	dynamic                          fixed
//	+------------------------+ 0     +------------------------+ 0
//	| copy of the footer     |       | the disk               |
//	+------------------------+ 512   |                        |
//	| header: block size,    |       |                        |
//	| where the table is     |       |                        |
//	+------------------------+       +------------------------+ end - 512
//	| table: one sector      |       | footer                 |
//	| number for each block  |       +------------------------+
//	+------------------------+
//	| bitmap, block          |       All numbers are big endian. A block is
//	| bitmap, block ...      |       2 MiB by default, its bitmap one sector.
//	+------------------------+ end - 512
//	| footer                 |
//	+------------------------+
//
// # Size
//
// The footer has two sizes: a geometry, and a current size that is mostly a
// little larger. Virtual PC, Virtual Server and qemu-img without force_size mean
// the geometry; everybody else means the current size, and so does a file whose
// length, blocks or partition table prove it. [Info] has both; [WithSize]
// overrides the choice.
//
// # Trust
//
// The file may be hostile. Checksums, the table and every entry of it are
// checked by NewReader; blocks outside the file or on top of each other are a
// *FormatError. The table is the only thing held in memory, is not read before
// the file is known to hold it, and is bounded by WithMaxTable.
//
// # Concurrency
//
// A Reader does not change once it is open: all methods may be used by any
// number of goroutines.
package vhd
