// Package guesttest builds small guests in memory, without tools: file systems,
// partition tables and initramfs. It is for tests.
package guesttest

import (
	"encoding/binary"
	"encoding/hex"
	"maps"
	"path"
	"slices"
	"strings"
)

// Tree is the files of a file system: content by path, without a leading slash.
// Content that begins with Link is a symbolic link's target.
type Tree map[string]string

// Link marks a symbolic link.
const Link = "\x00link:"

// Clone returns a copy that can be changed.
func (t Tree) Clone() Tree { return maps.Clone(t) }

// With returns a copy with other files; empty content removes a file.
func (t Tree) With(files Tree) Tree {
	t = t.Clone()
	for name, content := range files {
		if content == "" {
			delete(t, name)
		} else {
			t[name] = content
		}
	}
	return t
}

// Without returns a copy without the files below some paths.
func (t Tree) Without(prefixes ...string) Tree {
	t = t.Clone()
	for name := range t {
		if slices.ContainsFunc(prefixes, func(p string) bool { return name == p || strings.HasPrefix(name, p+"/") }) {
			delete(t, name)
		}
	}
	return t
}

const (
	block     = 4096
	inodeSize = 128
	inodes    = 4096 // of a file system
)

var le = binary.LittleEndian

// Ext2 returns an ext2 file system with the files of a tree, its UUID given as
// text. It is one group of blocks, of which the bitmaps are left out.
func Ext2(uuid, label string, tree Tree) []byte {
	w := &ext2{img: make([]byte, block*(2+inodes*inodeSize/block)), next: 11}
	w.dir(2, 2, "", tree)
	blocks := len(w.img)/block + 8
	w.img = append(w.img, make([]byte, 8*block)...)
	sb := w.img[1024:]
	le.PutUint32(sb, inodes)
	le.PutUint32(sb[4:], uint32(blocks))
	le.PutUint32(sb[0x18:], 2)
	le.PutUint32(sb[0x20:], 32768)
	le.PutUint32(sb[0x28:], inodes)
	le.PutUint16(sb[0x38:], 0xef53)
	le.PutUint16(sb[0x3a:], 1)
	le.PutUint32(sb[0x4c:], 1)
	le.PutUint32(sb[0x54:], 11)
	le.PutUint16(sb[0x58:], inodeSize)
	le.PutUint32(sb[0x60:], 2) // filetype
	copy(sb[0x68:], UUID(uuid))
	copy(sb[0x78:], label)
	le.PutUint32(w.img[block+8:], 2) // inode table
	return w.img
}

// UUID parses a UUID.
func UUID(s string) []byte {
	p, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil {
		panic(err)
	}
	return p
}

type ext2 struct {
	img  []byte
	next uint32
}

func (w *ext2) inode(n uint32) []byte {
	at := 2*block + int(n-1)*inodeSize
	return w.img[at : at+inodeSize]
}

// dir writes a directory and all below it.
func (w *ext2) dir(ino, parent uint32, name string, tree Tree) {
	var entries []byte
	last := 0
	add := func(ino uint32, kind byte, name string) {
		n := (8 + len(name) + 3) &^ 3
		if len(entries)%block+n > block {
			le.PutUint16(entries[last+4:], uint16((len(entries)+block-1)/block*block-last))
			entries = append(entries, make([]byte, (block-len(entries)%block)%block)...)
		}
		last = len(entries)
		e := make([]byte, n)
		le.PutUint32(e, ino)
		le.PutUint16(e[4:], uint16(n))
		e[6], e[7] = byte(len(name)), kind
		copy(e[8:], name)
		entries = append(entries, e...)
	}
	add(ino, 2, ".")
	add(parent, 2, "..")
	for _, child := range children(tree, name) {
		w.next++
		n := w.next
		full := path.Join(name, child)
		content, isFile := tree[full]
		target, isLink := strings.CutPrefix(content, Link)
		switch {
		case isLink:
			add(n, 7, child)
			w.file(n, 0xa1ff, []byte(target))
		case isFile && !strings.HasSuffix(content, "/"):
			add(n, 1, child)
			w.file(n, 0x81a4, []byte(content))
		default:
			add(n, 2, child)
			w.dir(n, ino, full, tree)
		}
	}
	le.PutUint16(entries[last+4:], uint16((len(entries)+block-1)/block*block-last))
	entries = append(entries, make([]byte, (block-len(entries)%block)%block)...)
	w.file(ino, 0x41ed, entries)
}

// children lists the names directly below a directory.
func children(tree Tree, dir string) []string {
	set := map[string]bool{}
	for name := range tree {
		rest := name
		if dir != "" {
			var ok bool
			if rest, ok = strings.CutPrefix(name, dir+"/"); !ok {
				continue
			}
		}
		first, _, _ := strings.Cut(rest, "/")
		set[first] = true
	}
	return slices.Sorted(maps.Keys(set))
}

func (w *ext2) file(n uint32, mode uint16, content []byte) {
	var numbers []uint32
	if mode&0xf000 != 0xa000 || len(content) >= 60 {
		for p := content; len(p) > 0; p = p[min(block, len(p)):] {
			numbers = append(numbers, w.block(p[:min(block, len(p))]))
		}
	}
	var indirect uint32
	if len(numbers) > 12 {
		if len(numbers) > 12+block/4 {
			panic("file too large")
		}
		p := make([]byte, block)
		for i, b := range numbers[12:] {
			le.PutUint32(p[i*4:], b)
		}
		indirect = w.block(p)
		numbers = numbers[:12]
	}
	raw := w.inode(n)
	le.PutUint16(raw, mode)
	le.PutUint32(raw[4:], uint32(len(content)))
	le.PutUint16(raw[0x1a:], 1)
	for i, b := range numbers {
		le.PutUint32(raw[0x28+i*4:], b)
	}
	le.PutUint32(raw[0x28+48:], indirect)
	if mode&0xf000 == 0xa000 && len(content) < 60 {
		copy(raw[0x28:], content)
	}
}

func (w *ext2) block(p []byte) uint32 {
	n := uint32(len(w.img) / block)
	w.img = append(w.img, p...)
	w.img = append(w.img, make([]byte, (block-len(p)%block)%block)...)
	return n
}
