package ntfs

import (
	"io/fs"

	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

const indexName = "$I30" // of file names

// List implements vfs.Node. It takes the entries of every block of the index that
// is in use; their order in the tree does not matter.
func (n *node) List() (list []vfs.Entry, err error) {
	root, ok := n.attr(attrIndexRoot, indexName)
	if !ok || !root.resident || len(root.value) < 32 {
		return nil, fs.ErrInvalid
	}
	if list, err = n.entries(nil, root.value[16:]); err != nil {
		return nil, err
	}
	blocks, ok := n.attr(attrIndexAll, indexName)
	if !ok {
		return list, nil
	}
	size := int64(le.Uint32(root.value[8:]))
	if size < 512 || size > 64<<10 || blocks.size > vfs.MaxDirBytes {
		return nil, vfs.Damaged("NTFS: index blocks of %d bytes", size)
	}
	used, err := n.bitmap(blocks.size / size)
	if err != nil {
		return nil, err
	}
	p := make([]byte, size)
	for i := int64(0); (i+1)*size <= blocks.size; i++ {
		if used[i/8]&(1<<(i%8)) == 0 {
			continue
		}
		if k, err := n.fs.readAttr(blocks, p, i*size); k < len(p) {
			return nil, err
		}
		if string(p[:4]) != "INDX" {
			return nil, vfs.Damaged("NTFS: index block %d of record %d has no magic", i, n.id)
		}
		if err := fixup(p); err != nil {
			return nil, err
		}
		if list, err = n.entries(list, p[24:]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// bitmap tells which index blocks are in use.
func (n *node) bitmap(blocks int64) ([]byte, error) {
	a, ok := n.attr(attrBitmap, indexName)
	if !ok || a.size*8 < blocks {
		return nil, vfs.Damaged("NTFS: index bitmap of record %d", n.id)
	}
	p := make([]byte, (blocks+7)/8)
	if k, err := n.fs.readAttr(a, p, 0); k < len(p) {
		return nil, err
	}
	return p, nil
}

// entries parses the entries after an index header. Names for DOS are second names
// of files.
func (n *node) entries(list []vfs.Entry, p []byte) ([]vfs.Entry, error) {
	const lastEntry, dosName = 2, 2
	start, end := int64(le.Uint32(p)), int64(le.Uint32(p[4:]))
	if start < 16 || end > int64(len(p)) || start > end {
		return nil, vfs.Damaged("NTFS: index of record %d", n.id)
	}
	for e := p[start:end]; len(e) >= 16; {
		length, key := int(le.Uint16(e[8:])), int(le.Uint16(e[10:]))
		if length < 16 || length > len(e) {
			return nil, vfs.Damaged("NTFS: index entry of %d bytes", length)
		}
		if le.Uint32(e[12:])&lastEntry != 0 {
			break
		}
		if key < 0x42 || 16+key > length || 0x42+int(e[16+0x40])*2 > key {
			return nil, vfs.Damaged("NTFS: index entry")
		}
		if e[16+0x41] != dosName {
			if len(list) == vfs.MaxEntries {
				return nil, vfs.ErrTooLarge
			}
			name := text(e[16+0x42 : 16+0x42+int(e[16+0x40])*2])
			if id := le.Uint64(e) & (1<<48 - 1); name != "." {
				list = append(list, vfs.Entry{Name: name, ID: id})
			}
		}
		e = e[length:]
	}
	return list, nil
}
