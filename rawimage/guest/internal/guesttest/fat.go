package guesttest

import (
	"fmt"
	"path"
	"unicode/utf16"
)

const fatClusters = 5000 // more than FAT12 has

// FAT returns a FAT16 with the files of a tree, every name a long one.
func FAT(tree Tree) []byte {
	const fats, roots = 20 * 512, 512 * 32
	w := &fat{table: make([]byte, fats)}
	le.PutUint16(w.table, 0xfff8)
	le.PutUint16(w.table[2:], 0xffff)
	w.next = 2
	root := w.entries("", tree)
	img := make([]byte, 512)
	copy(img, "\xeb\x3c\x90mkfs.fat")
	le.PutUint16(img[11:], 512)
	img[13] = 4 // sectors of a cluster
	le.PutUint16(img[14:], 1)
	img[16] = 1
	le.PutUint16(img[17:], roots/32)
	le.PutUint16(img[22:], fats/512)
	le.PutUint32(img[32:], 1+20+32+4*fatClusters)
	copy(img[38:], "\x29\x78\x56\x34\x12ESP        FAT16   ")
	img[510], img[511] = 0x55, 0xaa
	img = append(img, w.table...)
	img = append(img, append(root, make([]byte, roots-len(root))...)...)
	img = append(img, w.data...)
	return append(img, make([]byte, (1+20+32+4*fatClusters)*512-len(img))...)
}

type fat struct {
	table, data []byte
	next        int
}

// store stores content in clusters that follow one another.
func (w *fat) store(p []byte) (first int) {
	const cluster = 4 * 512
	first = w.next
	for {
		k := min(cluster, len(p))
		w.data = append(append(w.data, p[:k]...), make([]byte, cluster-k)...)
		p = p[k:]
		value := uint16(w.next + 1)
		if len(p) == 0 {
			value = 0xffff
		}
		le.PutUint16(w.table[w.next*2:], value)
		w.next++
		if len(p) == 0 {
			return first
		}
	}
}

func (w *fat) entries(dir string, tree Tree) (list []byte) {
	for i, name := range children(tree, dir) {
		full := path.Join(dir, name)
		short := fmt.Appendf(nil, "FILE%04d   ", i)[:11]
		e := make([]byte, 32)
		copy(e, short)
		if content, ok := tree[full]; ok {
			le.PutUint16(e[26:], uint16(w.store([]byte(content))))
			le.PutUint32(e[28:], uint32(len(content)))
		} else {
			e[11] = 0x10
			le.PutUint16(e[26:], uint16(w.store(w.entries(full, tree))))
		}
		list = append(append(list, longEntries(name, short)...), e...)
	}
	return list
}

// longEntries returns the entries of a long name, its end first.
func longEntries(name string, short []byte) (list []byte) {
	sum := byte(0)
	for _, c := range short {
		sum = sum>>1 | sum<<7
		sum += c
	}
	u := append(utf16.Encode([]rune(name)), 0)
	count := (len(u) + 12) / 13
	for len(u) < count*13 {
		u = append(u, 0xffff)
	}
	for n := count; n > 0; n-- {
		e := make([]byte, 32)
		e[0], e[11], e[13] = byte(n), 0x0f, sum
		if n == count {
			e[0] |= 0x40
		}
		for i, at := range []int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30} {
			le.PutUint16(e[at:], u[(n-1)*13+i])
		}
		list = append(list, e...)
	}
	return list
}
