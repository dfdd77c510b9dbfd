package guesttest

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf16"
)

// Key is a key of a registry: values by name, each a string or a uint32, and
// subkeys.
type Key struct {
	Values map[string]any
	Keys   map[string]*Key
}

// Registry makes keys of paths with backslashes, the last part of each a value's
// name.
func Registry(values map[string]any) *Key {
	root := &Key{}
	for path, v := range values {
		parts := strings.Split(path, `\`)
		k := root
		for _, name := range parts[:len(parts)-1] {
			if k.Keys == nil {
				k.Keys = map[string]*Key{}
			}
			if k.Keys[name] == nil {
				k.Keys[name] = &Key{}
			}
			k = k.Keys[name]
		}
		if k.Values == nil {
			k.Values = map[string]any{}
		}
		k.Values[parts[len(parts)-1]] = v
	}
	return root
}

// Hive returns a registry hive.
func Hive(root *Key) []byte {
	h := &hiveWriter{img: make([]byte, 4096+32)}
	at := h.key(root, "ROOT")
	copy(h.img, "regf")
	le.PutUint32(h.img[36:], at)
	copy(h.img[4096:], "hbin")
	return h.img
}

type hiveWriter struct{ img []byte }

// cell appends a cell and returns its offset.
func (h *hiveWriter) cell(p []byte) uint32 {
	at := uint32(len(h.img) - 4096)
	n := (len(p) + 4 + 7) &^ 7
	c := make([]byte, n)
	le.PutUint32(c, uint32(-int32(n)))
	copy(c[4:], p)
	h.img = append(h.img, c...)
	return at
}

func (h *hiveWriter) key(k *Key, name string) uint32 {
	nk := make([]byte, 76+len(name))
	copy(nk, "nk")
	le.PutUint16(nk[2:], 0x20)
	le.PutUint32(nk[28:], 0xffffffff)
	le.PutUint32(nk[40:], 0xffffffff)
	le.PutUint16(nk[72:], uint16(len(name)))
	copy(nk[76:], name)
	if n := len(k.Keys); n > 0 {
		list := []byte{'l', 'h', byte(n), byte(n >> 8)}
		for _, sub := range slices.Sorted(maps.Keys(k.Keys)) {
			list = le.AppendUint32(list, h.key(k.Keys[sub], sub))
			list = le.AppendUint32(list, 0)
		}
		le.PutUint32(nk[20:], uint32(n))
		le.PutUint32(nk[28:], h.cell(list))
	}
	if n := len(k.Values); n > 0 {
		var list []byte
		for _, v := range slices.Sorted(maps.Keys(k.Values)) {
			list = le.AppendUint32(list, h.value(v, k.Values[v]))
		}
		le.PutUint32(nk[36:], uint32(n))
		le.PutUint32(nk[40:], h.cell(list))
	}
	return h.cell(nk)
}

func (h *hiveWriter) value(name string, v any) uint32 {
	vk := make([]byte, 20+len(name))
	copy(vk, "vk")
	le.PutUint16(vk[2:], uint16(len(name)))
	le.PutUint16(vk[16:], 1)
	copy(vk[20:], name)
	switch v := v.(type) {
	case uint32:
		le.PutUint32(vk[4:], 0x80000004)
		le.PutUint32(vk[8:], v)
		le.PutUint32(vk[12:], 4)
	case string:
		var p []byte
		for _, u := range utf16.Encode([]rune(v + "\x00")) {
			p = le.AppendUint16(p, u)
		}
		le.PutUint32(vk[4:], uint32(len(p)))
		le.PutUint32(vk[8:], h.cell(p))
		le.PutUint32(vk[12:], 1)
	}
	return h.cell(vk)
}
