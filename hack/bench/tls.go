// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/url"
	"sync"
	"time"
)

// secureFront puts TLS in front of a server, as an ingress controller does, in
// this process, and gives the server a client that goes there. It is the same
// for every server, so that only what they do differs.
func secureFront(s *server) (stop func(), err error) {
	certificate, err := selfSigned(dockerHost)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	secure := tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13})
	go func() {
		for {
			outside, err := secure.Accept()
			if err != nil {
				return // stop was called
			}
			go forward(outside, s.base.Host)
		}
	}()
	roots := x509.NewCertPool()
	roots.AddCert(certificate.Leaf)
	s.secure = newClient(&url.URL{Scheme: "https", Host: dockerHost}, s.user, listener.Addr().String())
	s.secure.transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	return func() { _ = listener.Close() }, nil
}

// forward connects a client with a server until one of them ends. What fails, the
// client sees by its connection.
func forward(outside net.Conn, address string) {
	defer func() { _ = outside.Close() }()
	inside, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = inside.Close() }()
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(inside, outside)
		_ = inside.(*net.TCPConn).CloseWrite()
	})
	both.Go(func() {
		_, _ = io.Copy(outside, inside)
		_ = outside.(*tls.Conn).CloseWrite()
	})
	both.Wait()
}

// selfSigned makes a certificate for a host that is its own authority.
func selfSigned(host string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: host},
		DNSNames:              []string{host},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}
