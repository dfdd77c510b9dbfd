// Package fileid is the identity of a file: what tells whether it is still the
// file, with the content, that it was.
package fileid

import (
	"io/fs"
	"time"
)

// ID identifies a file and its content. A writer can set the time of modification
// back, but not the time of change.
type ID struct {
	Size    int64     `json:"size"`            // bytes
	ModTime time.Time `json:"mtime"`           // of the last modification
	Changed time.Time `json:"ctime,omitzero"`  // of the last change, attributes included; zero where it is not known
	Device  uint64    `json:"dev,omitempty"`   // of the file system; 0 where it is not known
	Inode   uint64    `json:"inode,omitempty"` // on that device; 0 where it is not known
}

// Of returns the identity of the file that fi describes.
func Of(fi fs.FileInfo) ID {
	id := ID{Size: fi.Size(), ModTime: fi.ModTime().UTC()}
	id.fill(fi)
	return id
}

// Equal reports whether both are the same file, unchanged.
func (id ID) Equal(other ID) bool {
	return id.Size == other.Size && id.ModTime.Equal(other.ModTime) && id.Changed.Equal(other.Changed) && id.SameFile(other)
}

// SameFile reports whether both are the same file, whatever its content. Where
// the system does not tell, it may be.
func (id ID) SameFile(other ID) bool { return id.Device == other.Device && id.Inode == other.Inode }
