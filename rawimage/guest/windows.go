package guest

import "github.com/fastimage/fastimage/rawimage/guest/internal/vfs"

type windows struct{}

func (e *exam) windowsFacts() error { return vfs.Unsupported("Windows") }
