package imagefmt

import (
	"iter"
	"sync"
)

// A Ledger records which units of a file the tables of an image use, and finds
// a unit that is used twice: no writer produces that, and it would let a small
// file stand for any amount of data. Tables are entered when they are first
// read, in any order and again after they have left a cache, so that opening an
// image costs nothing. A unit is whatever the format allocates; memory is one
// bit for each unit near those in use.
//
// The zero value is ready for use, by any number of goroutines.
type Ledger struct {
	mu      sync.Mutex // guards the rest
	entered bitmap
	used    bitmap
	clashes map[int64]int64 // by table: the unit that another entry uses too
}

// Enter records the units of a table, unless it was entered before. It returns
// the first unit that was in use already; ok reports that there is none.
func (l *Ledger) Enter(table int64, units iter.Seq[int64]) (clash int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.entered.set(table) {
		clash, bad := l.clashes[table]
		return clash, !bad
	}
	for u := range units {
		if l.used.set(u) {
			continue
		}
		if l.clashes == nil {
			l.clashes = make(map[int64]int64)
		}
		l.clashes[table] = u
		return u, false
	}
	return 0, true
}

// pageBits is the bits of a page of a bitmap: 512 bytes.
const pageBits = 4096

// bitmap is a set of numbers, in pages where there are any.
type bitmap map[int64]*[pageBits / 64]uint64

// set adds n and reports whether it is new.
func (b *bitmap) set(n int64) bool {
	if *b == nil {
		*b = make(bitmap)
	}
	p := (*b)[n/pageBits]
	if p == nil {
		p = new([pageBits / 64]uint64)
		(*b)[n/pageBits] = p
	}
	word, bit := n%pageBits/64, uint64(1)<<(n%64)
	if p[word]&bit != 0 {
		return false
	}
	p[word] |= bit
	return true
}
