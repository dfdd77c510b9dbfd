// Package bitmap makes and reads bitmaps of RAW disk images: one bit for each
// block of the disk, set if the block holds a byte other than zero. The cloud
// wants such a bitmap, a file named .mf, beside every RAW image.
//
// [Scan] makes a [Bitmap] of a disk, [Bitmap.Encode] and [Decode] are its form
// as bytes, which a [Layout] describes:
//
//	+----------------------------+
//	| header                     |  constant bytes and numbers, often none
//	+----------------------------+
//	| body                       |  bits, lengths of runs, or (offset, length) pairs
//	+----------------------------+
//	| padding                    |  zeros (or ones) up to a multiple of Layout.Pad
//	+----------------------------+
//
// # The default layout is an assumption
//
// What the vendor's tool (CreateMF.jar) writes is documented nowhere.
// [DefaultLayout] is the form that the bitmap has in the vendor's own container
// format, ZVHD2: one bit per 2 MiB, least significant bit first, 1 for data, no
// header, padded with zeros to whole segments of 4096 bytes. One .mf file made by
// that tool, together with its RAW image, settles the matter: package infer finds the
// layouts that reproduce it, and [ParseLayout] reads the text form in which one is
// passed on.
//
// # Holes
//
// If a source has a method
//
//	NextData(off int64) (start, end int64, err error)
//
// that returns the first range of data [start, end) with end > off and
// start >= off, and io.EOF when there is none, Scan reads only such ranges: what
// lies outside must read as zeros. A Bitmap has that method itself.
//
// # Concurrency and trust
//
// A Bitmap is safe for concurrent reads; changing it needs exclusive access. An
// encoded bitmap is hostile input: Decode checks all of it against the size of
// the disk, returns typed errors, and reads no more than a bitmap of the disk can
// have.
package bitmap
