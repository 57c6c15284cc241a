"""What OCI clients see of an image: conversion, layer metadata and digests."""
