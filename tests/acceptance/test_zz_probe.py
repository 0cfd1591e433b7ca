"""Real sessions: Django, AsyncSession (psycopg, asyncpg, aiosqlite)."""
import sys, asyncio, pytest, os
sys.path.append('/tmp/scratchlibs')
from paceline import Client, Outgoing, Text, tables
from tests.integration.producers import *
from tests.conftest import *
from sqlalchemy.ext.asyncio import create_async_engine, AsyncSession
import sqlalchemy as sa

def engines(url):
    if url.startswith('sqlite'): return [url.replace('sqlite:','sqlite+aiosqlite:')]
    return [url, url.replace('+psycopg','+asyncpg')]

@pytest.mark.parametrize('n',[0,1])
def test_async(database_url, n):
    urls=engines(database_url)
    if n>=len(urls): pytest.skip()
    install(database_url)
    client=Client(database_url=database_url, broker_url=NOWHERE, environ={})
    async def main():
        e=create_async_engine(urls[n])
        for end in ('rollback','commit'):
            async with AsyncSession(e) as s:
                r=await s.run_sync(lambda sync: client.enqueue(HELLO, via='main', idempotency_key='k', session=sync))
                r2=await s.run_sync(lambda sync: client.enqueue_many([Outgoing(HELLO,'sms',idempotency_key=str(i), metadata={"a":"b"}) for i in range(30)], session=sync))
                await getattr(s,end)()
            assert len(rows(database_url, tables.Message))==(0 if end=='rollback' else 31)
        async with AsyncSession(e) as s:
            r=await s.run_sync(lambda sync: client.enqueue(HELLO, via='main', idempotency_key='k', session=sync))
            assert r.replayed
        await e.dispose()
    asyncio.run(main())
    client.close()

def test_django(database_url):
    install(database_url)
    import django
    from django.conf import settings
    from sqlalchemy import make_url
    if not settings.configured: settings.configure(DATABASES={'default':{'ENGINE':'django.db.backends.dummy'}}); django.setup()
    from django.db.utils import ConnectionHandler
    u=make_url(database_url)
    db={'ENGINE':'django.db.backends.sqlite3','NAME':u.database} if u.drivername=='sqlite' else {'ENGINE':'django.db.backends.postgresql','NAME':u.database,'USER':u.username,'HOST':u.query.get('host'),'PASSWORD':u.password or ''}
    h=ConnectionHandler({'default':db})
    c=h['default']
    from django.db import transaction
    client=Client(database_url=database_url, broker_url=NOWHERE, environ={})
    woken=[]
    client._announcer._wake=lambda *a: woken.append(a)
    from django.db.transaction import Atomic
    class Alias(Atomic): pass
    import django.db as d, django.db.transaction as t
    t.get_connection=lambda using=None: c
    import contextlib
    for end in ('rollback','commit'):
        with contextlib.suppress(ZeroDivisionError), t.atomic():
            client.enqueue(HELLO, via='main', idempotency_key='k', session=c)
            client.enqueue_many([Outgoing(HELLO,'sms',idempotency_key=str(i), metadata={"a":"b"}) for i in range(30)], session=c)
            assert not woken
            if end=='rollback': 1/0
        assert len(rows(database_url, tables.Message))==(0 if end=='rollback' else 31)
        assert bool(woken)==(end=='commit')
    client.enqueue(HELLO, via='main', idempotency_key='k2', session=c)
    assert len(rows(database_url, tables.Message))==32
    c.close()
    client.close()
