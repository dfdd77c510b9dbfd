package quickimport_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
)

// A time in a form of its own, and values nobody knows, leave a list readable.
func TestImageInfoIsLenient(t *testing.T) {
	var list []quickimport.ImageInfo
	require.NoError(t, json.Unmarshal([]byte(`[
		{"id":"1","status":"new-state","created_at":"2026-11-24T01:02:03Z","__data_origin":"file,b:k"},
		{"id":"2","created_at":"2026-11-24 01:02:03"},
		{"id":"3","created_at":null}]`), &list))
	require.Equal(t, time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC), list[0].CreatedAt)
	require.Equal(t, quickimport.ImageStatus("new-state"), list[0].Status)
	require.Equal(t, "file,b:k", list[0].Origin)
	require.True(t, list[1].CreatedAt.IsZero())
	require.Equal(t, "3", list[2].ID)
}
