package xfs

import "github.com/fastimage/fastimage/rawimage/guest/internal/vfs"

// shortEntries parses a directory kept in its inode.
func (n *node) shortEntries() ([]vfs.Entry, error) {
	if n.info.Size > int64(len(n.fork)) || n.info.Size < 6 {
		return nil, vfs.Damaged("directory %d: size", n.id)
	}
	p := n.fork[:n.info.Size]
	count, wide := int(p[0]), p[1] > 0
	inoLen := 4
	if wide {
		inoLen = 8
	}
	if 2+inoLen > len(p) {
		return nil, vfs.Damaged("directory %d: header", n.id)
	}
	p = p[2+inoLen:] // the parent
	var list []vfs.Entry
	for range count {
		if len(p) < 3 {
			return nil, vfs.Damaged("directory %d: ends early", n.id)
		}
		length := int(p[0])
		at := 3 + length
		if n.fs.fileType {
			at++
		}
		if at+inoLen > len(p) {
			return nil, vfs.Damaged("directory %d: entry", n.id)
		}
		ino := uint64(be.Uint32(p[at:]))
		if wide {
			ino = be.Uint64(p[at:])
		}
		list = append(list, vfs.Entry{Name: string(p[3 : 3+length]), ID: ino})
		p = p[at+inoLen:]
	}
	return list, nil
}

// blockEntries parses the entries of one block of a directory. A block that is
// the whole directory ends with an index, which is skipped.
func (f *FS) blockEntries(list []vfs.Entry, p []byte) ([]vfs.Entry, error) {
	at := 16
	end := len(p)
	switch magic := string(p[:4]); magic {
	case "XD2D":
	case "XDD3":
		at = 64
	case "XD2B", "XDB3":
		if magic == "XDB3" {
			at = 64
		}
		count := int64(be.Uint32(p[end-8:]))
		if count > int64(len(p))/8 {
			return nil, vfs.Damaged("directory block: index of %d entries", count)
		}
		end -= 8 + int(count)*8
	case "\x00\x00\x00\x00":
		return list, nil // a hole
	default:
		return nil, vfs.Damaged("directory block: magic %q", magic)
	}
	for at+8 <= end {
		if be.Uint16(p[at:]) == 0xffff { // unused
			length := int(be.Uint16(p[at+2:]))
			if length < 8 || length%8 != 0 {
				return nil, vfs.Damaged("directory block: free space of %d bytes", length)
			}
			at += length
			continue
		}
		if at+9 > end {
			break
		}
		nameLen := int(p[at+8])
		length := 8 + 1 + nameLen + 2
		if f.fileType {
			length++
		}
		if length = (length + 7) &^ 7; nameLen == 0 || at+length > end {
			return nil, vfs.Damaged("directory block: entry")
		}
		if name := string(p[at+9 : at+9+nameLen]); name != "." && name != ".." {
			if len(list) == vfs.MaxEntries {
				return nil, vfs.ErrTooLarge
			}
			list = append(list, vfs.Entry{Name: name, ID: be.Uint64(p[at:])})
		}
		at += length
	}
	return list, nil
}
