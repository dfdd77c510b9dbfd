package guesttest

import (
	"path"
	"strings"
	"unicode/utf16"
)

const (
	ntfsRecord = 4096
	ntfsMFT    = 4 // cluster
)

// NTFS returns an NTFS with the files of a tree. Directories must be small enough
// for their index to fit into their record.
func NTFS(dirty bool, tree Tree) []byte {
	w := &ntfs{}
	w.records = make([][]byte, 24) // the first are the file system's own
	w.dir(5, "", tree)
	flags := byte(0)
	if dirty {
		flags = 1
	}
	w.records[3] = record(1, resident(0x70, "", []byte{0, 0, 0, 0, 0, 0, 0, 0, 3, 1, flags, 0}))
	mftClusters := len(w.records)
	img := make([]byte, (ntfsMFT+mftClusters)*block)
	data := len(img) / block
	img = append(img, w.data...)
	w.records[0] = record(1, nonResident(0x80, ntfsMFT, mftClusters, int64(mftClusters*ntfsRecord)))
	for i, r := range w.records {
		at := ntfsMFT*block + i*ntfsRecord
		if r == nil {
			continue
		}
		relocate(r, data)
		copy(img[at:], seal(r))
	}
	copy(img[3:], "NTFS    ")
	le.PutUint16(img[0x0b:], 512)
	img[0x0d] = block / 512
	le.PutUint64(img[0x28:], uint64(len(img)/512))
	le.PutUint64(img[0x30:], ntfsMFT)
	img[0x40] = 0xf4 // 2^12
	img[0x44] = 0xf4
	le.PutUint64(img[72:], 0x1234567890abcdef)
	img[510], img[511] = 0x55, 0xaa
	return append(img, make([]byte, block)...)
}

type ntfs struct {
	records [][]byte
	data    []byte
}

// marker stands in a run for the first cluster of data, which is not known yet.
const marker = 0x40000000

func (w *ntfs) dir(id int, name string, tree Tree) {
	var entries []byte
	for _, child := range children(tree, name) {
		full := path.Join(name, child)
		n := len(w.records)
		w.records = append(w.records, nil)
		if content, ok := tree[full]; ok {
			w.file(n, content)
		} else {
			w.dir(n, full, tree)
		}
		entries = append(entries, indexEntry(n, id, child)...)
	}
	last := make([]byte, 16)
	le.PutUint16(last[8:], 16)
	le.PutUint32(last[12:], 2)
	entries = append(entries, last...)
	root := make([]byte, 32, 32+len(entries))
	le.PutUint32(root, 0x30)
	le.PutUint32(root[8:], block)
	le.PutUint32(root[16:], 16)
	le.PutUint32(root[20:], uint32(16+len(entries)))
	le.PutUint32(root[24:], uint32(16+len(entries)))
	w.records[id] = record(3, resident(0x90, "$I30", append(root, entries...)))
}

func indexEntry(id, parent int, name string) []byte {
	u := utf16.Encode([]rune(name))
	key := 0x42 + len(u)*2
	e := make([]byte, (16+key+7)&^7)
	le.PutUint64(e, uint64(id))
	le.PutUint16(e[8:], uint16(len(e)))
	le.PutUint16(e[10:], uint16(key))
	le.PutUint64(e[16:], uint64(parent))
	e[16+0x40], e[16+0x41] = byte(len(u)), 1
	for i, c := range u {
		le.PutUint16(e[16+0x42+i*2:], c)
	}
	return e
}

func (w *ntfs) file(n int, content string) {
	if len(content) < 1024 {
		w.records[n] = record(1, resident(0x80, "", []byte(content)))
		return
	}
	at, size := len(w.data)/block, len(content)
	w.data = append(w.data, content...)
	w.data = append(w.data, make([]byte, (block-size%block)%block)...)
	w.records[n] = record(1, nonResident(0x80, marker+at, (size+block-1)/block, int64(size)))
}

func resident(kind uint32, name string, value []byte) []byte {
	u := utf16.Encode([]rune(name))
	off := (24 + len(u)*2 + 7) &^ 7
	a := make([]byte, (off+len(value)+7)&^7)
	le.PutUint32(a, kind)
	le.PutUint32(a[4:], uint32(len(a)))
	a[9] = byte(len(u))
	le.PutUint16(a[10:], 24)
	le.PutUint32(a[16:], uint32(len(value)))
	le.PutUint16(a[20:], uint16(off))
	for i, c := range u {
		le.PutUint16(a[24+i*2:], c)
	}
	copy(a[off:], value)
	return a
}

func nonResident(kind uint32, cluster, count int, size int64) []byte {
	a := make([]byte, 80)
	le.PutUint32(a, kind)
	le.PutUint32(a[4:], uint32(len(a)))
	a[8] = 1
	le.PutUint16(a[32:], 64)
	le.PutUint64(a[40:], uint64(count)*block)
	le.PutUint64(a[48:], uint64(size))
	le.PutUint64(a[56:], uint64(size))
	a[64] = 0x44
	le.PutUint32(a[65:], uint32(count))
	le.PutUint32(a[69:], uint32(cluster))
	return a
}

func record(flags uint16, attrs ...[]byte) []byte {
	r := make([]byte, 0x50, ntfsRecord)
	copy(r, "FILE")
	le.PutUint16(r[0x14:], 0x50)
	le.PutUint16(r[0x16:], flags)
	for _, a := range attrs {
		r = append(r, a...)
	}
	r = append(r, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0)
	if len(r) > ntfsRecord {
		panic("directory too large: " + strings.ToValidUTF8(string(r[:16]), "?"))
	}
	return append(r, make([]byte, ntfsRecord-len(r))...)
}

// relocate puts the first cluster of data where a run has the marker.
func relocate(r []byte, data int) {
	for at := int(le.Uint16(r[0x14:])); le.Uint32(r[at:]) != 0xffffffff; at += int(le.Uint32(r[at+4:])) {
		if r[at+8] == 1 {
			if lcn := le.Uint32(r[at+69:]); lcn >= marker {
				le.PutUint32(r[at+69:], lcn-marker+uint32(data))
			}
		}
	}
}

// seal writes the update sequence.
func seal(r []byte) []byte {
	count := len(r)/512 + 1
	le.PutUint16(r[4:], 0x30)
	le.PutUint16(r[6:], uint16(count))
	le.PutUint16(r[0x30:], 1)
	for i := 1; i < count; i++ {
		copy(r[0x30+i*2:], r[i*512-2:i*512])
		le.PutUint16(r[i*512-2:], 1)
	}
	return r
}
