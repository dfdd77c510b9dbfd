// Package infer finds the layout of a bitmap file that another tool has made.
//
// What the vendor's tool writes into a .mf file is documented nowhere. One such
// file, together with the RAW image that it was made of, settles it: [Layouts]
// tries every form that a [bitmap.Layout] can express and returns those that
// reproduce the file byte for byte.
//
// The file is hostile input: no more of it is read than the disk's own bitmap could
// fill, and the search ends whatever is in it. Layouts keeps no state and is safe
// for concurrent use.
package infer
