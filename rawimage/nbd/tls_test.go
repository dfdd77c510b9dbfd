package nbd_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage/nbd"
)

// certificates writes an authority and certificates of it for a server called
// localhost and for a client, under the names that nbdkit and libnbd use.
func certificates(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	write := func(name, kind string, der []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	require.NoError(t, err)
	write("ca-cert.pem", "CERTIFICATE", der)
	for _, who := range []string{"server", "client"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		cert := &x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: who}, DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		der, err := x509.CreateCertificate(rand.Reader, cert, ca, &key.PublicKey, caKey)
		require.NoError(t, err)
		write(who+"-cert.pem", "CERTIFICATE", der)
		der, err = x509.MarshalPKCS8PrivateKey(key)
		require.NoError(t, err)
		write(who+"-key.pem", "PRIVATE KEY", der)
	}
	return dir
}

func TestTLS(t *testing.T) {
	t.Parallel()
	name, disk := diskFile(t)
	dir := certificates(t)
	socket := start(t, "nbdkit", func(s string) []string {
		return []string{"-f", "-r", "-U", s, "--tls=require", "--tls-certificates=" + dir, "--tls-verify-peer", "file", name}
	})
	query := url.Values{"socket": {socket}}
	_, err := nbd.Dial(context.Background(), "nbd+unix:///?"+query.Encode())
	require.ErrorIs(t, err, nbd.ErrTLSRequired)
	_, err = nbd.Dial(context.Background(), "nbds+unix:///?"+query.Encode())
	var unknown *tls.CertificateVerificationError
	require.ErrorAs(t, err, &unknown)
	query.Set("tls-certificates", dir)
	requireDisk(t, dial(t, "nbds+unix:///?"+query.Encode()), disk)
	query.Set("tls-hostname", "elsewhere")
	_, err = nbd.Dial(context.Background(), "nbds+unix:///?"+query.Encode())
	require.ErrorAs(t, err, &unknown)
}
