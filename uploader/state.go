package uploader

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"time"
)

// Store keeps the state of uploads under way, so that they can be resumed by
// another process. Names are made of [0-9a-f]. State holds no secrets.
type Store interface {
	// Lock takes name for this upload alone, across processes, and returns how
	// to give it back. It does not wait: a name that is taken is ErrLocked. A
	// lock must end with its process.
	Lock(ctx context.Context, name string) (unlock func() error, err error)
	// Load returns what Save stored last; fs.ErrNotExist if there is nothing.
	Load(ctx context.Context, name string) ([]byte, error)
	// Save replaces the state atomically and durably.
	Save(ctx context.Context, name string, data []byte) error
	// Remove removes the state; nothing there is no error.
	Remove(ctx context.Context, name string) error
}

const stateVersion = 1

// state is what is kept of an upload. It is written before each step that
// creates something on the server, so that a process that dies at any moment
// leaves nothing behind that its successor cannot find.
type state struct {
	Version     int                  `json:"version"`
	Endpoint    string               `json:"endpoint"`
	Bucket      string               `json:"bucket"`
	Key         string               `json:"key"`
	UploadID    string               `json:"upload_id"` // "" between the intent and the answer
	PartSize    int64                `json:"part_size"`
	Stream      bool                 `json:"stream"`
	Size        int64                `json:"size"` // of a stream: its upper bound
	Fingerprint string               `json:"fingerprint,omitempty"`
	Created     time.Time            `json:"created"`
	Nonce       string               `json:"nonce,omitempty"` // in the object's metadata
	ZeroKey     string               `json:"zero_key,omitempty"`
	ZeroVersion string               `json:"zero_version,omitempty"`
	NoCopy      bool                 `json:"no_copy,omitempty"` // the service does not copy
	Parts       map[int32]storedPart `json:"parts,omitempty"`   // encrypted buckets only
	FinalETag   string               `json:"final_etag,omitempty"`
	FinalSize   int64                `json:"final_size,omitempty"`
}

// storedPart binds an ETag that is no MD5 to the bytes it stands for.
type storedPart struct {
	MD5  string `json:"md5"`
	ETag string `json:"etag"`
}

// stateName is the name of a target's state.
func stateName(endpoint, bucket, key string) string {
	h := sha256.Sum256([]byte(endpoint + "\x00" + bucket + "\x00" + key))
	return hex.EncodeToString(h[:16])
}

// loadState returns the state of the target, nil if there is none, and a
// reason if there is one that cannot be used.
func loadState(ctx context.Context, store Store, name string) (st *state, reason string, err error) {
	data, err := store.Load(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", pkg.Errorf("loading the state: %w", err)
	}
	if st, err = parseState(data); err != nil {
		return nil, "", pkg.Errorf("%w (%s)", err, name)
	}
	if st == nil {
		return nil, "the state is damaged", nil
	}
	return st, "", nil
}

// parseState returns nil for what is no state of ours, and ErrState for one that
// another version of this program wrote: it names something on the server that
// only that version knows how to resume or remove.
func parseState(data []byte) (*state, error) {
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &version); err != nil || version.Version <= 0 {
		return nil, nil
	}
	if version.Version != stateVersion {
		return nil, pkg.Errorf("%w: version %d, this program uses version %d; finish the upload with the program that began it, or remove the state",
			ErrState, version.Version, stateVersion)
	}
	st := new(state)
	if err := json.Unmarshal(data, st); err != nil ||
		len(st.UploadID) > maxUploadID || st.ZeroKey != "" && !isZeroKey(st.ZeroKey) || st.Size < 0 || st.FinalSize < 0 {
		return nil, nil
	}
	return st, nil
}

func (s *session) saveState(ctx context.Context) error {
	if s.opt.store == nil {
		return nil
	}
	s.saving.Lock()
	defer s.saving.Unlock()
	return s.save(ctx)
}

// saveParts saves what was noted of parts, unless saves would take more than a
// tenth of the time: the state of thousands of parts is as long as that, and is
// written whole. A process that dies then sends those parts again.
func (s *session) saveParts(ctx context.Context) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	if s.unsaved = true; time.Since(s.saved) < 9*s.saveTook {
		return nil
	}
	return s.save(ctx)
}

// saveRest saves what saveParts has put off.
func (s *session) saveRest(ctx context.Context) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	if !s.unsaved {
		return nil
	}
	return s.save(ctx)
}

// save is called with saving locked.
func (s *session) save(ctx context.Context) error {
	began := time.Now()
	s.mu.Lock()
	data, err := json.Marshal(s.st)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if err := s.opt.store.Save(ctx, s.name, data); err != nil {
		return pkg.Errorf("saving the state: %w", err)
	}
	s.saved, s.saveTook, s.unsaved = time.Now(), time.Since(began), false
	return nil
}

// mismatch says why a state does not fit this upload, "" if it does.
func (st *state) mismatch(s *session) string {
	switch {
	case st.Endpoint != s.c.Endpoint() || st.Bucket != s.bucket || st.Key != s.key:
		return "the state is of another target"
	case st.Stream != s.stream || st.Size != s.size || st.Fingerprint != s.opt.fingerprint:
		return "the source changed"
	case st.PartSize < MinPartSize || st.PartSize > MaxPartSize ||
		s.opt.partSize != 0 && st.PartSize != s.opt.partSize || (st.Size+st.PartSize-1)/st.PartSize > MaxParts:
		return "the part size changed"
	}
	return ""
}
