// Package vhdx reads Microsoft's VHDX disk images (Hyper-V) in place, as the disk
// they hold: fixed and dynamic ones. Differencing disks are refused, and nothing
// is ever written.
//
//	+-------------------------------+ 0
//	| signature, creator            |
//	+-------------------------------+ 64 KiB
//	| header, and another at 128    |  the valid one with the higher number
//	| KiB: where the log is         |  is in force
//	+-------------------------------+ 192 KiB
//	| region table, and another at  |
//	| 256 KiB: where the rest is    |
//	+-------------------------------+ 1 MiB
//	| log                           |
//	| metadata: sizes, flags        |  all in whole MiB, in any order
//	| table: state and place of     |
//	| each block                    |
//	| blocks of 1 to 256 MiB        |
//	+-------------------------------+
//
// # The log
//
// Changes to the tables go to the log first. An image whose writer did not close
// it has changes there that the tables lack. They are replayed in memory, and
// Info.Replayed says so; a log that cannot be replayed is an error. What is read
// is never the older state. (qemu-img convert refuses such an image until
// qemu-img check -r all has replayed the log in the file.)
//
// # Trust
//
// The file may be hostile. Checksums, regions, metadata, the log and every entry
// of the table are checked by NewReader; blocks outside the file or on top of
// each other are a *FormatError. The table, and the log where there is one to be
// replayed, are the only things held in memory, are not read before the file is
// known to hold them, and are bounded by WithMaxTable.
//
// # Concurrency
//
// A Reader does not change once it is open: all methods may be used by any
// number of goroutines.
package vhdx
