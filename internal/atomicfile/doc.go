// Package atomicfile writes files that appear under their name whole or not at
// all: under a temporary name in the same directory, flushed to the disk, then
// renamed.
//
// Its types stay out of public signatures.
package atomicfile
