package imstest

import "github.com/fastimage/fastimage/internal/pkgerr"

// errs makes this package's errors.
const errs = pkgerr.Package("imstest")

// ErrInUse reports that another server uses the directory given by [WithDir].
var ErrInUse = errs.New("directory is in use by another server")
