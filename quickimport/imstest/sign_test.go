package imstest_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
)

// The client's signer and the server's check share no code.
func TestSignedClient(t *testing.T) {
	t.Parallel()
	s := imstest.NewServer(t, imstest.WithSecurityToken("temporary"))
	c, err := quickimport.New(s.Options()...)
	require.NoError(t, err)
	id, err := c.ProjectID(context.Background())
	require.NoError(t, err)
	require.Equal(t, s.ProjectID(), id)
	_, err = c.ImagesByName(context.Background(), "a b+像/?&=")
	require.NoError(t, err)

	other := quickimport.WithCredentials(quickimport.StaticCredentials(quickimport.Credentials{
		AccessKey: s.AccessKey(), SecretKey: "wrong", SecurityToken: "temporary"}))
	c, err = quickimport.New(append(s.Options(), other)...)
	require.NoError(t, err)
	_, err = c.ProjectID(context.Background())
	var ae *quickimport.APIError
	require.True(t, errors.As(err, &ae), "%v", err)
	require.Equal(t, 401, ae.StatusCode)
}

func TestClockSkew(t *testing.T) {
	t.Parallel()
	s := imstest.NewServer(t, imstest.WithClock(func() time.Time { return time.Now().Add(time.Hour) }))
	c, err := quickimport.New(s.Options()...)
	require.NoError(t, err)
	_, err = c.ProjectID(context.Background())
	require.ErrorContains(t, err, "APIGW.0301")
	status, body := raw(t, s, "PUT", "", "/images/k", nil)
	require.Equal(t, http.StatusForbidden, status)
	require.True(t, strings.Contains(body, "RequestTimeTooSkewed"), body)
}

func TestOptionErrors(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]imstest.Option{
		"dir": imstest.WithDir(""), "keys": imstest.WithCredentials("a", ""), "quota": imstest.WithQuota(-1),
		"duration": imstest.WithJobDuration(-1), "clock": imstest.WithClock(nil), "logger": imstest.WithLogger(nil),
		"bucket": imstest.WithBucket("Not A Bucket"), "listen": imstest.WithListen("256.0.0.1:x"),
	} {
		_, err := imstest.New(o)
		require.ErrorContains(t, err, "imstest: ", name)
	}
}
